//! What the targets share: the way into libFuzzer, bounds on memory and processor time, and what holds for every error.

pub mod demo;
pub mod golden;
pub mod input;
pub mod mutate;
pub mod snippets;

use std::alloc::System;
use std::ffi::{CString, c_char, c_int};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use cap::Cap;
use lapidary::Error;
use nix::time::{ClockId, clock_gettime};

/// Counts what is allocated, and fails beyond a limit: that ends the process, and libFuzzer keeps the input.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

unsafe extern "C" {
    fn LLVMFuzzerRunDriver(argc: *mut c_int, argv: *mut *mut *mut c_char, target: Target) -> c_int;
    fn LLVMFuzzerTestOneInput(data: *const u8, size: usize) -> c_int;
}

type Target = unsafe extern "C" fn(*const u8, usize) -> c_int;

/// Where each input is written before it is tried: an overflow of the stack leaves libFuzzer no room to do so.
static CURRENT: LazyLock<Option<File>> =
    LazyLock::new(|| File::create(std::env::var_os("LAPIDARY_FUZZ_CURRENT")?).ok());

/// A panic that becomes an error is none, as in the program: libfuzzer-sys would abort.
static QUIET: LazyLock<()> = LazyLock::new(|| {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !lapidary::panics_are_contained() {
            hook(info);
        }
    }));
});

unsafe extern "C" fn target(data: *const u8, size: usize) -> c_int {
    LazyLock::force(&QUIET);
    if let Some(mut file) = CURRENT.as_ref() {
        // SAFETY: libFuzzer's own contract, also with a size of 0 where it gives an address all the same.
        let input = unsafe { std::slice::from_raw_parts(data, size) };
        let written =
            file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(input)).and_then(|()| file.set_len(size as u64));
        written.expect("room for the input");
    }
    // SAFETY: the target's own function, called as libFuzzer would.
    unsafe { LLVMFuzzerTestOneInput(data, size) }
}

/// Runs libFuzzer with this program's arguments. A `main` of our own rather than libFuzzer's, because then a thread that
/// overflows its stack, whichever it is, says so.
pub fn run() {
    let arguments = std::env::args().map(|argument| CString::new(argument).expect("arguments have no NUL"));
    let mut pointers: Vec<*mut c_char> = arguments.map(CString::into_raw).collect();
    let mut count = pointers.len() as c_int;
    pointers.push(std::ptr::null_mut());
    let mut list = pointers.as_mut_ptr();
    // SAFETY: argc and argv as main has them; they live as long as the process, and so does the target's function.
    let code = unsafe { LLVMFuzzerRunDriver(&mut count, &mut list, target) };
    std::process::exit(code);
}

/// What one input may take.
pub struct Bounds {
    /// Bytes beyond what was allocated before.
    pub bytes: usize,
    /// Of all the process's threads, in a build that is slower than a user's.
    pub processor_time: Duration,
}

impl Bounds {
    /// Bounds in MiB and milliseconds.
    pub const fn new(mebibytes: usize, milliseconds: u64) -> Self {
        Self { bytes: mebibytes << 20, processor_time: Duration::from_millis(milliseconds) }
    }

    /// Runs `work`, which must keep within them.
    pub fn hold<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = processor_time();
        // That more is allocated than the limit allows cannot be here.
        let _ = ALLOCATOR.set_limit(ALLOCATOR.allocated() + self.bytes);
        let result = work();
        let _ = ALLOCATOR.set_limit(usize::MAX);
        let took = processor_time() - before;
        assert!(took <= self.processor_time, "took {took:?}, expected at most {:?}", self.processor_time);
        result
    }
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("every Unix has this clock").into()
}

/// Checks what holds for every error about a file or a conversation: its class, and that its text is of bounded length,
/// has no characters that steer a terminal and one line, or one for each fault.
pub fn check_error(error: &Error, codes: &[u8]) {
    let (text, code) = (error.to_string(), error.exit_code());
    assert!(codes.contains(&code), "exit code {code}, expected one of {codes:?}: {text:?}");
    assert!(!text.is_empty() && text.len() < 200_000, "an error of {} bytes", text.len());
    check_text(&text, matches!(error, Error::Model(faults) if faults.count() > 1));
}

/// The same of any text for people; lines behind the first must be those of a list.
pub fn check_text(text: &str, is_list: bool) {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(steers), "characters that steer a terminal: {text:?}");
    let mut more = text.split('\n').skip(1);
    assert!(more.all(|line| is_list && line.starts_with("  ")), "more than one line: {text:?}");
}

/// A folder for one process, in the memory of the machine where run.sh says so.
pub fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lapidary-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    folder
}
