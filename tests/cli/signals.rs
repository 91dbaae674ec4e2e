//! Ctrl-C, SIGTERM, and a chat at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::{collect, command, golden, golden_text, wait};

const QUESTION: &str = "What does Vec::push do?";

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

#[test]
fn an_interrupted_answer_is_printed_and_ends_with_130() {
    for (arguments, signal) in [
        (&["generate", "--prompt", QUESTION, "--temperature", "0"][..], Signal::SIGINT),
        (&["generate", "--prompt", QUESTION, "--temperature", "0"], Signal::SIGTERM),
        (&["chat", "--temperature", "0"], Signal::SIGINT),
        (&["chat", "--temperature", "0"], Signal::SIGTERM),
    ] {
        let mut child = command(arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{QUESTION}").ok(); // For the chat, which goes on reading: the pipe stays open.
        let mut stdout = child.stdout.take().unwrap();
        let mut first = [0; 4];
        stdout.read_exact(&mut first).unwrap();
        send(&child, signal);
        let (rest, err) = (collect(stdout), collect(child.stderr.take().unwrap()));
        assert_eq!(wait(&mut child), Some(130), "{arguments:?} {signal}: {}", err.join().unwrap());
        let out = format!("{}{}", String::from_utf8_lossy(&first), rest.join().unwrap());
        let case = golden("method");
        let whole = golden_text(&case);
        assert!(whole.starts_with(out.trim_end()) && out.len() < whole.len(), "{out}");
    }
}

/// A child whose terminal this is.
struct Terminal {
    child: Child,
    master: File,
    output: Receiver<Vec<u8>>,
    seen: String,
}

/// A test that fails leaves no process behind.
impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Terminal {
    fn new(arguments: &[&str], home: &std::path::Path) -> Self {
        let size = Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        let mut command = command(arguments);
        command.stdin(end()).stdout(end()).stderr(end());
        command.env("TERM", "xterm").env("XDG_STATE_HOME", home).env_remove("NO_COLOR");
        let child = command.spawn().unwrap();
        let master = File::from(pair.master);
        let (sender, output) = channel();
        let mut reader = master.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // At the end Linux gives an error, others nothing.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { child, master, output, seen: String::new() }
    }

    /// What is shown until `end` is, which must come soon.
    fn until(&mut self, end: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(at) = self.seen.find(end) {
                let rest = self.seen.split_off(at + end.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(start.elapsed() < Duration::from_secs(120), "{end:?} never came: {:?}", self.seen);
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
                self.seen.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
    }

    fn write(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }
}

#[test]
fn a_chat_at_a_terminal() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::new(&["chat", "--temperature", "0"], home.path());
    terminal.until(">>> ");
    terminal.write(&format!("{QUESTION}\r"));
    terminal.until("Appends");
    send(&terminal.child, Signal::SIGINT);
    assert!(!terminal.until("(stopped)").contains("assert_eq"));
    terminal.until(">>> ");
    terminal.write("half a line\x03");
    terminal.until("(Ctrl-D or /exit leaves, /help lists the commands)");
    terminal.until(">>> ");
    terminal.write("\"\"\"\r");
    terminal.until("... ");
    terminal.write(&format!("{QUESTION}\"\"\"\r"));
    terminal.until("```rust");
    terminal.until(">>> ");
    for command in ["/clear", "/think on"] {
        terminal.write(&format!("{command}\r"));
        terminal.until(">>> ");
    }
    let case = golden("thinking");
    terminal.write(&format!("{}\r", case["messages"][0]["content"].as_str().unwrap()));
    terminal.until("\x1b[2m");
    terminal.until("\x1b[0m");
    terminal.until(">>> ");
    terminal.write("\x04");
    assert_eq!(wait(&mut terminal.child), Some(0));
    let history = std::fs::read_to_string(home.path().join("lapidary/history")).unwrap();
    assert!(history.contains(QUESTION) && history.contains("/think on") && !history.contains("half"), "{history}");
}

#[test]
fn sigterm_at_the_prompt_leaves_the_terminal_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::new(&["chat", "--temperature", "0"], home.path());
    let before = nix::sys::termios::tcgetattr(&terminal.master).unwrap();
    terminal.until(">>> ");
    send(&terminal.child, Signal::SIGTERM);
    assert_eq!(wait(&mut terminal.child), None, "ended by the signal");
    let after = nix::sys::termios::tcgetattr(&terminal.master).unwrap();
    assert_eq!(after.local_flags, before.local_flags);
    terminal.until("\x1b[?2004l");
}

/// A terminal that is closed sends SIGHUP: at the prompt and in the middle of an answer the program is gone at once.
#[test]
fn a_closed_terminal_ends_the_chat() {
    for is_answering in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::new(&["chat", "--temperature", "0"], home.path());
        terminal.until(">>> ");
        if is_answering {
            terminal.write(&format!("{QUESTION}\r"));
            terminal.until("Appends");
        }
        send(&terminal.child, Signal::SIGHUP);
        assert_eq!(wait(&mut terminal.child), None, "ended by the signal, answering: {is_answering}");
    }
}
