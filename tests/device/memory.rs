//! Allocations that find no room, each of those that loading makes.

use lapidary::Error;
use lapidary::testing::gpu::{FaultInjector, fault_injector};

use super::device::open;
use super::{checkpoint, load};

/// The error names what was asked for and what was taken already, and all that was taken goes back to the driver.
#[test]
fn every_allocation_of_a_load_may_fail() {
    let checkpoint = checkpoint();
    let gpu = open();
    let (faults, first) = (fault_injector(&gpu), fault_injector(&gpu).allocations());
    let model = load(gpu, &checkpoint).unwrap();
    let (count, stagings) = (faults.allocations() - first, faults.stagings());
    assert!(count > 50, "{count} allocations");
    drop(model);
    // wgpu itself keeps a little.
    let least = faults.driver_bytes();
    // The label of the allocation that failed; `None` where there was none.
    let failed = |plant: &dyn Fn(&FaultInjector)| {
        let gpu = open();
        let faults = fault_injector(&gpu);
        plant(&faults);
        let label = match load(gpu, &checkpoint) {
            Err(Error::Memory(no_room)) => {
                let message = no_room.to_string();
                let (label, rest) = message.split_once(": no room for ").unwrap();
                assert!(!label.is_empty() && rest.contains(" bytes on ") && rest.contains(" beside "), "{message}");
                Some(label.to_owned())
            }
            Err(other) => panic!("{other:?}"),
            Ok(_) => None,
        };
        assert_eq!(faults.driver_bytes(), least, "{label:?}: bytes that were not given back");
        label
    };
    for number in 0..count {
        assert!(failed(&|faults| faults.fail_allocation(number)).is_some(), "allocation {number} was not asked for");
    }
    // A thread takes its staging memory when it first has something to upload, which another may do instead: all but the
    // first may not be asked for.
    assert_eq!(failed(&|faults| faults.fail_staging(0)).as_deref(), Some("staging"));
    for number in 1..stagings {
        assert!(failed(&|faults| faults.fail_staging(number)).is_none_or(|label| label == "staging"));
    }
}
