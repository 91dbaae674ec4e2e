//! What is asked of Windows itself: its console's events, escape codes, and where libraries come from.

use std::sync::OnceLock;

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, GetStdHandle,
    STD_OUTPUT_HANDLE, SetConsoleCtrlHandler, SetConsoleMode,
};
use windows_sys::Win32::System::LibraryLoader::SetDllDirectoryW;
use windows_sys::core::BOOL;

/// An event of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Break.
    Break,
    /// The window is closed: the program ends within seconds.
    Close,
}

static HANDLER: OnceLock<fn(Event) -> bool> = OnceLock::new();

/// Calls `handler` in a thread of its own for each event. Where it gives false the system goes on, which ends the program.
pub(super) fn on_events(handler: fn(Event) -> bool) {
    HANDLER.get_or_init(|| handler);
    #[expect(unsafe_code, reason = "the system's own function")]
    // SAFETY: `handle` is a function that lives as long as the program. Windows calls it in a new thread, not in the middle of
    // another one, so that it may do whatever a thread may.
    unsafe {
        SetConsoleCtrlHandler(Some(handle), 1);
    }
}

#[expect(unsafe_code, reason = "the form of the function that the system calls")]
unsafe extern "system" fn handle(event: u32) -> BOOL {
    let event = match event {
        CTRL_C_EVENT => Event::Interrupt,
        CTRL_BREAK_EVENT => Event::Break,
        _ => Event::Close,
    };
    HANDLER.get().is_some_and(|handler| handler(event)).into()
}

/// Whether the terminal behind stdout understands escape codes, which old consoles do only when asked.
pub(super) fn understands_escape_codes() -> bool {
    let mut mode = 0;
    #[expect(unsafe_code, reason = "the system's own functions")]
    // SAFETY: the handle is asked for and used at once, and `mode` outlives the call that writes it.
    unsafe {
        let stdout = GetStdHandle(STD_OUTPUT_HANDLE);
        // A terminal that is no console is that of MSYS or Cygwin, where escape codes are at home.
        GetConsoleMode(stdout, &mut mode) == 0 || SetConsoleMode(stdout, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING) != 0
    }
}

/// Takes the current folder from those that libraries are looked for in: it may be a model's, with a vulkan-1.dll in it on a
/// machine that has none.
pub(super) fn forbid_libraries_of_the_current_folder() {
    #[expect(unsafe_code, reason = "the system's own function")]
    // SAFETY: an empty text that ends with a zero. That it may fail changes nothing.
    unsafe {
        SetDllDirectoryW([0].as_ptr());
    }
}
