package iface

import "testing"

type nothing struct{}

type sheet struct{ cells any }

func TestIsNil_SeesWhatIsInside(t *testing.T) {
	for _, c := range []struct {
		name string
		v    any
		want bool
	}{
		{"nil", nil, true},
		{"nil pointer", (*sheet)(nil), true},
		{"nil function", (func())(nil), true},
		{"nil map", map[int]int(nil), true},
		{"nil slice", []int(nil), true},
		{"nil channel", (chan int)(nil), true},
		{"pointer", &sheet{}, false},
		{"function", func() {}, false},
		{"empty map", map[int]int{}, false},
		{"struct", sheet{}, false},
		{"zero", 0, false},
	} {
		if got := IsNil(c.v); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

func TestSame_NeverPanicsAndNeverGuesses(t *testing.T) {
	p := &sheet{}
	for _, c := range []struct {
		name string
		a, b any
		want bool
	}{
		{"one pointer", p, p, true},
		{"two pointers", p, &sheet{}, false},
		{"equal values", sheet{1}, sheet{1}, true},
		{"other values", sheet{1}, sheet{2}, false},
		{"values that cannot be compared", sheet{[]int{1}}, sheet{[]int{1}}, false},
		{"one that can", sheet{1}, sheet{[]int{1}}, false},
		{"other types", p, sheet{}, false},
		{"maps", map[int]int{}, map[int]int{}, false},
		{"pointers to nothing", &nothing{}, &nothing{}, false},
		{"nils", nil, nil, false},
		{"nil pointers", (*sheet)(nil), (*sheet)(nil), false},
	} {
		if got := Same(c.a, c.b); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}
