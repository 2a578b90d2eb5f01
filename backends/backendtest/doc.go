// Package backendtest is the conformance suite of package backends: every driver and every
// composite passes it, and a store of your own can be held to it in ten lines:
//
//	func TestStore(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) backendtest.Harness {
//			client := mystore.Dial(addr)
//			return backendtest.Harness{
//				Store:         mystore.New(client),
//				TTLResolution: time.Second, // how late an item may expire
//				Close:         client.Close,
//			}
//		})
//	}
//
// The suite asks [backends.CapsOf] what the store can do and runs the cases about that, and the
// ones that hold for every store: a miss is an answer and a failure is not; keys and values are
// any bytes; lifetimes round up and are never lost; a lease, a version or a hold-off keeps out
// what it should. Each [Case] has a Why that says what breaks in a service when a store breaks
// the claim. Keys are unique to a case and a run, so a shared server is fine.
//
// Three more tools serve the tests of whatever is built on stores:
//
//   - [RunModel] compares a store with a simple model over random sequences of calls, and
//     shrinks what differs to the shortest such sequence;
//   - [Faulty] wraps a store and injects failures, lost answers, delays and corruption, counts
//     calls, and offers hooks that force interleavings;
//   - [Recorder] lets a test watch a case fail, to show that the suite can see a fault.
package backendtest
