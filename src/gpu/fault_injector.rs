//! Faults that tests plant in a device: a loss at a chosen submission, an allocation that finds no room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that is never reached: no fault is planted.
const NEVER: u64 = u64::MAX;

/// Plants faults in a device, also after the device was handed to a model and from other threads.
#[derive(Debug, Clone)]
pub struct FaultInjector {
    device: wgpu::Device,
    planted: Arc<Planted>,
}

/// What has happened so far, and at which number a fault happens.
#[derive(Debug)]
struct Planted {
    allocations: AtomicU64,
    failing: AtomicU64,
    submissions: AtomicU64,
    last: AtomicU64,
}

impl FaultInjector {
    pub(super) fn new(device: wgpu::Device) -> Self {
        let planted = Planted {
            allocations: AtomicU64::new(0),
            failing: AtomicU64::new(NEVER),
            submissions: AtomicU64::new(0),
            last: AtomicU64::new(NEVER),
        };
        FaultInjector { device, planted: Arc::new(planted) }
    }

    /// Destroys the device as a driver's reset would. Nobody is told: what runs on it must notice.
    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// Destroys the device right before a submission: the next one for 0.
    pub fn destroy_before_submission(&self, number: u64) {
        self.planted.last.store(self.submissions() + number, Ordering::Relaxed);
    }

    /// Lets an allocation find no room: the next one for 0. Those behind it find some again.
    pub fn fail_allocation(&self, number: u64) {
        self.planted.failing.store(self.allocations() + number, Ordering::Relaxed);
    }

    /// Buffers asked for so far.
    pub fn allocations(&self) -> u64 {
        self.planted.allocations.load(Ordering::Relaxed)
    }

    /// Submissions so far.
    pub fn submissions(&self) -> u64 {
        self.planted.submissions.load(Ordering::Relaxed)
    }

    /// Bytes that the driver's allocator has given out on this device; `None` where it does not count them.
    pub fn driver_bytes(&self) -> Option<u64> {
        self.device.poll(wgpu::PollType::Poll).ok(); // What was dropped is given back by the next look at the device.
        self.device.generate_allocator_report().map(|report| report.total_allocated_bytes)
    }

    /// Counts an allocation; true where it is to fail.
    pub(super) fn allocating(&self) -> bool {
        let number = self.planted.allocations.fetch_add(1, Ordering::Relaxed);
        number == self.planted.failing.load(Ordering::Relaxed)
    }

    /// Counts a submission, before it is made.
    pub(super) fn submitting(&self) {
        let number = self.planted.submissions.fetch_add(1, Ordering::Relaxed);
        if number == self.planted.last.load(Ordering::Relaxed) {
            self.destroy();
        }
    }
}
