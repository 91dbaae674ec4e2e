//! All that waits for a device: for a future of wgpu's, for a message from one of its callbacks, for what was submitted.
//!
//! In a browser nothing comes in while the page's thread waits, so there these give what is there already, and an error for what
//! is not. No other file of the library waits like this: `tests/targets.rs` sees to that.

use std::sync::mpsc::Receiver;

use crate::Result;
use crate::contained::contained;

/// What waits end with where there is no waiting.
const NO_WAITING: &str = "the browser has not answered yet, and a page's thread cannot wait for it";

/// Why a wait has not ended well.
pub(super) enum Unfinished {
    TooLong,
    Failed(String),
}

/// What comes of `future`.
///
/// # Errors
/// [`crate::Error::Device`] in a browser, where nothing has come of it yet.
#[cfg(not(target_family = "wasm"))]
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    Ok(pollster::block_on(future))
}

#[cfg(target_family = "wasm")]
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    ready_now(future)
}

/// What has come of `future` already: its first look tells.
#[cfg(any(test, target_family = "wasm"))]
fn ready_now<T>(future: impl Future<Output = T>) -> Result<T> {
    use std::task::{Context, Poll, Waker};
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(crate::error::Unfit::NoWaiting(NO_WAITING).into()),
    }
}

/// The next message of a callback.
///
/// # Errors
/// Where the callback was dropped without a call; in a browser also where it was not called yet.
pub(super) fn receive<T>(receiver: &Receiver<T>) -> std::result::Result<T, String> {
    if cfg!(target_family = "wasm") {
        receiver.try_recv().map_err(|_| NO_WAITING.to_owned())
    } else {
        receiver.recv().map_err(|error| error.to_string())
    }
}

/// wgpu's poll. In a browser it does nothing, so that waits fail there.
pub(super) fn poll(
    device: &wgpu::Device,
    poll: wgpu::PollType,
    is_browser: bool,
) -> std::result::Result<(), Unfinished> {
    if is_browser && poll.is_wait() {
        return Err(Unfinished::Failed(NO_WAITING.to_owned()));
    }
    // It panics where the driver says that the device is lost, after it has told the callback.
    match contained(|| device.poll(poll)) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(wgpu::PollError::Timeout)) => Err(Unfinished::TooLong),
        Ok(Err(e)) => Err(Unfinished::Failed(e.to_string())),
        Err(_) => Err(Unfinished::Failed("the driver refused".into())),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ready_is_an_error_where_there_is_no_waiting() {
        assert_eq!(ready_now(std::future::ready(7)).unwrap(), 7);
        let error = ready_now(std::future::pending::<()>()).unwrap_err();
        assert!(matches!(&error, crate::Error::Device(_)) && error.to_string().contains("cannot wait"), "{error}");
    }

    /// Rehearsals plan a model's memory in a browser too: what they ask of wgpu is answered at once.
    #[test]
    fn rehearsals_never_wait() {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::NOOP;
        descriptor.backend_options.noop = wgpu::NoopBackendOptions { enable: true, ..Default::default() };
        let instance = wgpu::Instance::new(descriptor);
        let adapter = ready_now(instance.enumerate_adapters(wgpu::Backends::NOOP)).unwrap().remove(0);
        ready_now(adapter.request_device(&wgpu::DeviceDescriptor::default())).unwrap().unwrap();
    }
}
