package backendtest

import "github.com/hearthcache/hearth/backends"

var touchCases = []Case{
	{
		Name:  "touch/ChangesTheLifetime",
		Why:   "sliding sessions live by it; zero means until evicted, not at once",
		needs: needToucher,
		waits: true,
		run: func(e *env) {
			longer, forever, shorter := e.key("longer"), e.key("forever"), e.key("shorter")
			e.setItem(longer, itemTTL("v", e.unit))
			e.setItem(forever, itemTTL("v", e.unit))
			e.set(shorter, "v")
			e.ok(e.caps.Toucher.Touch(e.ctx, longer, hour), "touch")
			e.ok(e.caps.Toucher.Touch(e.ctx, forever, 0), "touch")
			e.ok(e.caps.Toucher.Touch(e.ctx, shorter, e.unit), "touch")
			e.outlive(e.unit)
			e.holds(longer, "v")
			e.holds(forever, "v")
			e.missing(shorter)
		},
	},
	{
		Name:  "touch/AbsentKeyIsAMiss",
		Why:   "a session that is gone must not look alive",
		needs: needToucher,
		run: func(e *env) {
			k := e.key("k")
			e.is(e.caps.Toucher.Touch(e.ctx, k, hour), backends.ErrMiss, "touch")
			e.is(e.caps.Toucher.Touch(e.ctx, k, 0), backends.ErrMiss, "touch with 0")
			e.absent(k)
		},
	},
	{
		Name:  "touch/RefusalsChangeNothing",
		Why:   "a negative lifetime is 'expired' to one server and an error to the other",
		needs: needToucher,
		run: func(e *env) {
			k := e.key("k")
			e.set(k, "v")
			e.is(e.caps.Toucher.Touch(e.ctx, k, -1), backends.ErrInvalidTTL, "touch")
			e.is(e.caps.Toucher.Touch(e.ctx, "", hour), backends.ErrEmptyKey, "touch")
			e.holds(k, "v")
		},
	},
}
