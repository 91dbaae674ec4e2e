//! Faults that tests plant in a device: a loss at a chosen submission, an allocation that finds no room, work that never
//! ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What staging buffers are called: allocations of that name are counted apart.
pub(crate) const STAGING: &str = "staging";
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
    stagings: AtomicU64,
    failing_staging: AtomicU64,
    submissions: AtomicU64,
    last: AtomicU64,
    hangs: AtomicBool,
}

impl FaultInjector {
    pub(crate) fn new(device: wgpu::Device) -> Self {
        let planted = Planted {
            allocations: AtomicU64::new(0),
            failing: AtomicU64::new(NEVER),
            stagings: AtomicU64::new(0),
            failing_staging: AtomicU64::new(NEVER),
            submissions: AtomicU64::new(0),
            last: AtomicU64::new(NEVER),
            hangs: AtomicBool::new(false),
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

    /// From here on the device is through with nothing: waits for it that have an end have it at once.
    pub fn hang(&self) {
        self.planted.hangs.store(true, Ordering::Relaxed);
    }

    /// Lets an allocation find no room: the next one for 0. Those behind it find some again. Staging memory does not count,
    /// which threads take in no order.
    pub fn fail_allocation(&self, number: u64) {
        self.planted.failing.store(self.allocations() + number, Ordering::Relaxed);
    }

    /// Buffers asked for so far, but for staging memory.
    pub fn allocations(&self) -> u64 {
        self.planted.allocations.load(Ordering::Relaxed)
    }

    /// As [`FaultInjector::fail_allocation`] for staging memory alone.
    pub fn fail_staging(&self, number: u64) {
        self.planted.failing_staging.store(self.stagings() + number, Ordering::Relaxed);
    }

    /// Staging buffers asked for so far.
    pub fn stagings(&self) -> u64 {
        self.planted.stagings.load(Ordering::Relaxed)
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

    /// Whether the device is through with nothing.
    pub(crate) fn hangs(&self) -> bool {
        self.planted.hangs.load(Ordering::Relaxed)
    }

    /// Counts an allocation; true where it is to fail.
    pub(crate) fn allocating(&self, label: &str) -> bool {
        let Planted { allocations, failing, stagings, failing_staging, .. } = &*self.planted;
        let (counted, failing) = if label == STAGING { (stagings, failing_staging) } else { (allocations, failing) };
        counted.fetch_add(1, Ordering::Relaxed) == failing.load(Ordering::Relaxed)
    }

    /// Counts a submission, before it is made.
    pub(crate) fn submitting(&self) {
        let number = self.planted.submissions.fetch_add(1, Ordering::Relaxed);
        if number == self.planted.last.load(Ordering::Relaxed) {
            self.destroy();
        }
    }
}
