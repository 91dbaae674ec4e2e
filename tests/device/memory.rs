//! Allocations that find no room, each of those that loading makes.

use lapidary::Error;

use super::device::open;
use super::{checkpoint, load};

/// The error names what was asked for and what was taken already, and all that was taken goes back to the driver.
#[test]
fn every_allocation_of_a_load_may_fail() {
    let checkpoint = checkpoint();
    let gpu = open();
    let (faults, first) = (gpu.faults(), gpu.faults().allocations());
    let model = load(gpu, &checkpoint).unwrap();
    let count = faults.allocations() - first;
    assert!(count > 50, "{count} allocations");
    drop(model);
    // wgpu itself keeps a little.
    let least = faults.driver_bytes();
    let mut spared = 0;
    for number in 0..count {
        let gpu = open();
        let faults = gpu.faults();
        faults.fail_allocation(number);
        // Threads that upload take staging memory in no order: one more or less may be asked for.
        match load(gpu, &checkpoint) {
            Err(Error::Memory(message)) => {
                let (label, rest) = message.split_once(": no room for ").unwrap();
                assert!(!label.is_empty() && rest.contains(" bytes on ") && rest.contains(" beside "), "{message}");
            }
            Err(other) => panic!("allocation {number}: {other:?}"),
            Ok(_) => spared += 1,
        }
        assert_eq!(faults.driver_bytes(), least, "allocation {number}: bytes that were not given back");
    }
    // A thread takes its staging memory when it first has something to upload, which another may do instead.
    let threads = std::thread::available_parallelism().map_or(16, usize::from);
    assert!(spared <= 2 * threads as u64, "{spared} of {count} allocations were not asked for");
}
