package fallback

import (
	"fmt"

	"github.com/hearthcache/hearth/backends"
)

// samples is how many keys are looked at for one that both stores keep in the same entry. Lists of
// 30 servers that have a single one in common share one key of 900.
const samples = 4096

// apart refuses a new store and an old one that keep some keys in one and the same entry, as two
// server lists of one memcached fleet do: what the old one is told to forget would be gone from
// the new one. It sees what the stores can tell ([backends.Locator]); where Config.OldKey gives
// other names nobody can say.
func (c Config) apart() error {
	fresh, ok := c.New.Store.(backends.Locator)
	if !ok || c.OldKey != nil {
		return nil
	}
	for _, m := range c.Old {
		old, ok := m.Store.(backends.Locator)
		if !ok {
			continue
		}
		for i := range samples {
			key := fmt.Sprint("sample:", i)
			server, name, ok := fresh.Locate(key)
			if !ok {
				return nil
			}
			if s, n, ok := old.Locate(key); ok && s == server && n == name {
				return fmt.Errorf("fallback: members %q and %q keep some keys in the same entry of server %s, "+
					"so what one is told to forget would be gone from the other: give one of them a prefix "+
					"(memcached.Config.Prefix or backends.Prefix)", c.New.Name, m.Name, server)
			}
		}
	}
	return nil
}
