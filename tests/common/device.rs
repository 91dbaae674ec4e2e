//! The devices of tests: which adapter they run on, and few of them, since what a device has compiled stays with it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::cell::OnceCell;
use std::sync::{Arc, Mutex, PoisonError};

use lapidary::gpu::{Gpu, Mask};

/// A new device: the default adapter, or the one that LAPIDARY_TEST_ADAPTER names, without what LAPIDARY_TEST_WITHOUT does
/// (as [`Mask`] is written), with kernels shaped for the kind that LAPIDARY_TEST_TUNING names. None is a failure.
pub(crate) fn open() -> Gpu {
    open_without(&Mask::default())
}

/// As [`open`], also without what `mask` says.
pub(crate) fn open_without(mask: &Mask) -> Gpu {
    let said = |name| std::env::var(name).ok();
    let always: Mask = said("LAPIDARY_TEST_WITHOUT").unwrap_or_default().parse().expect("LAPIDARY_TEST_WITHOUT");
    let wanted = said("LAPIDARY_TEST_ADAPTER");
    let gpu = Gpu::open_without(wanted.as_deref(), 0, &always.and(mask));
    let gpu = gpu.expect("tests need an adapter; lavapipe will do");
    match said("LAPIDARY_TEST_TUNING") {
        Some(kind) => gpu.with_kind(kind.parse().expect("LAPIDARY_TEST_TUNING")),
        None => gpu,
    }
}

/// Devices that no test runs on.
static FREE: Mutex<Vec<&'static Arc<Gpu>>> = Mutex::new(Vec::new());

/// A device for as long as a thread lives.
struct Lease(&'static Arc<Gpu>);

impl Drop for Lease {
    fn drop(&mut self) {
        // One that has failed is of no use to the tests that follow.
        if self.0.check().is_ok() {
            FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
        }
    }
}

/// The device of this test. Tests that run side by side have one each, which is what a software adapter compiles with: it
/// does so behind the queue. Those that follow each other share pipelines.
pub(crate) fn device() -> &'static Arc<Gpu> {
    thread_local! {
        static LEASE: OnceCell<Lease> = const { OnceCell::new() };
    }
    LEASE.with(|lease| {
        lease
            .get_or_init(|| {
                let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
                Lease(free.unwrap_or_else(|| {
                    let gpu = open();
                    let adapter = gpu.adapter();
                    let (name, driver) = (&adapter.info.name, adapter.driver());
                    println!("adapter: {name}, {driver}, without \"{}\", table {}", gpu.mask(), gpu.kind());
                    Box::leak(Box::new(Arc::new(gpu)))
                }))
            })
            .0
    })
}
