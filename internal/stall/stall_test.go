package stall

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestMeter_CountsWhatIsAboveATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, stop := &Meter{}, make(chan struct{})
		late := []time.Duration{0, time.Second, 0, 300 * time.Millisecond}
		m.run(stop, time.Now, func(d time.Duration) {
			time.Sleep(d + late[0])
			if late = late[1:]; len(late) == 0 {
				close(stop)
			}
		})
		if got, want := m.Lost(), 1300*time.Millisecond; got != want {
			t.Errorf("lost %v, want %v", got, want)
		}
	})
}

func TestMeasure_NothingIsLostWhereTimeStandsStillMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := Measure(t)
		time.Sleep(time.Minute)
		if got := m.Lost(); got != 0 {
			t.Errorf("lost %v, want nothing", got)
		}
	})
}
