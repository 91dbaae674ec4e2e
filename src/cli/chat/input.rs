//! Messages from the user: with line editing and history at a terminal, line by line from anything else.

use std::io::{self, BufRead, Cursor, IsTerminal, Read, Write};
use std::path::PathBuf;

use lapidary::{Error, Result, decode};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use super::super::input::is_wide;
use super::super::signals;
use super::super::terminal::note;

/// Begins and ends a message of several lines.
const FENCE: &str = "\"\"\"";
const PROMPT: &str = ">>> ";
const CONTINUED: &str = "... ";

/// Bytes that are passed over to find the end of a line that is too long, and that stdin may have in an encoding whose
/// lines are found only when all of it is there.
const MOST_PASSED_OVER: u64 = 16 << 20;

/// What the user wants next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A line that begins with a slash.
    Command(String),
    /// Text for the model.
    Message(String),
    /// No more.
    End,
}

/// One line, or why there is none.
enum Line {
    Text(String),
    /// Ctrl-C: what was typed so far is dropped.
    Dropped,
    End,
}

/// Where messages come from.
pub(super) enum Reader {
    /// A person at a terminal.
    Terminal { editor: Box<Editor<(), FileHistory>>, history: Option<PathBuf> },
    /// A pipe or a file, or a person whose answers go to one.
    Lines(Lines),
}

/// Lines of stdin.
#[derive(Default)]
pub(super) struct Lines {
    typed: bool,
    /// Bytes that a line, and a message of several lines, may have.
    most: usize,
    begun: bool,
    /// Nothing more is read.
    ended: bool,
    /// All of stdin, where its encoding is not UTF-8.
    decoded: Option<Cursor<String>>,
}

impl Reader {
    /// A reader of stdin, whose messages may have `most` bytes.
    ///
    /// # Errors
    /// [`Error::Run`] where the terminal cannot be used.
    pub(super) fn new(most: usize) -> Result<Self> {
        let typed = io::stdin().is_terminal();
        if !typed || !io::stdout().is_terminal() {
            return Ok(Reader::Lines(Lines { typed, most, ..Lines::default() }));
        }
        let config = Config::builder().auto_add_history(false).build();
        let mut editor = Editor::with_config(config).map_err(|e| terminal_fault(&e))?;
        let history = history_file();
        if let Some(file) = &history {
            editor.load_history(file).ok(); // There is none the first time.
        }
        Ok(Reader::Terminal { editor: Box::new(editor), history })
    }

    /// Whether a person types.
    pub(super) fn is_typed(&self) -> bool {
        matches!(self, Reader::Terminal { .. } | Reader::Lines(Lines { typed: true, .. }))
    }

    /// Whether a person types and sees the answers at the same place.
    pub(super) fn is_edited(&self) -> bool {
        matches!(self, Reader::Terminal { .. })
    }

    /// The next message or command; lines without text are passed over.
    ///
    /// # Errors
    /// [`Error::Run`] where the terminal fails, [`Error::Usage`] for a line that is no text or too long.
    pub(super) fn next(&mut self) -> Result<Input> {
        loop {
            let first = match self.line(PROMPT)? {
                Line::Text(line) => line,
                Line::Dropped => {
                    note("(Ctrl-D or /exit leaves, /help lists the commands)");
                    continue;
                }
                Line::End => return Ok(Input::End),
            };
            let input = match first.trim_start().strip_prefix(FENCE) {
                Some(opened) => match self.fenced(opened)? {
                    Some(message) => Input::Message(message),
                    None => continue,
                },
                None if first.trim().is_empty() => continue,
                None if first.starts_with('/') => Input::Command(first.trim_end().to_owned()),
                None => Input::Message(first.clone()),
            };
            match &input {
                Input::Message(text) if text.trim().is_empty() => continue,
                Input::Message(text) if first.trim_start().starts_with(FENCE) => {
                    self.remember(&format!("{FENCE}{text}{FENCE}"));
                }
                _ => self.remember(&first),
            }
            return Ok(input);
        }
    }

    /// The rest of a message of several lines, whose first line is `opened`; `None` where it was dropped.
    fn fenced(&mut self, opened: &str) -> Result<Option<String>> {
        let mut message = opened.to_owned();
        let mut passed_over = None;
        loop {
            if let Some(text) = message.trim_end().strip_suffix(FENCE) {
                return passed_over.map_or(Ok(Some(text.trim_matches('\n').to_owned())), Err);
            }
            match self.line(CONTINUED) {
                Ok(Line::Text(line)) if passed_over.is_some() => message = line,
                Ok(Line::Text(line)) => message = message + "\n" + &line,
                Ok(Line::Dropped) => return Ok(None),
                // The end of the input ends the message too.
                Ok(Line::End) => return passed_over.map_or(Ok(Some(message.trim_matches('\n').to_owned())), Err),
                // The rest of a message that is at fault is no message either.
                Err(error @ Error::Usage(_)) => passed_over = Some(passed_over.unwrap_or(error)),
                Err(error) => return Err(error),
            }
            if let (Reader::Lines(lines), None) = (&mut *self, &passed_over)
                && message.len() > lines.most
            {
                passed_over = Some(too_long("message", lines.most));
            }
        }
    }

    fn line(&mut self, prompt: &str) -> Result<Line> {
        match self {
            Reader::Terminal { editor, .. } => match signals::at_prompt(|| editor.readline(prompt)) {
                Ok(line) => Ok(Line::Text(line)),
                Err(ReadlineError::Interrupted) => Ok(Line::Dropped),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(terminal_fault(&error)),
            },
            Reader::Lines(lines) => {
                if lines.typed && io::stderr().is_terminal() {
                    write!(io::stderr(), "{prompt}").ok();
                }
                lines.next(&mut io::stdin().lock())
            }
        }
    }

    fn remember(&mut self, entry: &str) {
        if let Reader::Terminal { editor, history } = self {
            // A history that cannot be written is no reason to end a chat.
            editor.add_history_entry(entry).ok();
            if let Some(file) = history {
                editor.append_history(file).ok();
            }
        }
    }
}

impl Lines {
    fn next(&mut self, from: &mut impl BufRead) -> Result<Line> {
        if !self.begun {
            self.begun = true;
            self.decode(from)?;
        }
        match self.decoded.take() {
            Some(mut decoded) => {
                let line = self.read(&mut decoded);
                self.decoded = Some(decoded);
                line
            }
            None => self.read(from),
        }
    }

    /// Reads all of a text whose mark says that it is not UTF-8.
    fn decode(&mut self, from: &mut impl BufRead) -> Result<()> {
        if !is_wide(from.fill_buf().map_err(failed)?) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let read = from.by_ref().take(MOST_PASSED_OVER + 1).read_to_end(&mut bytes).map_err(failed)?;
        if read as u64 > MOST_PASSED_OVER {
            self.ended = true;
            return Err(too_long("text in UTF-16 or UTF-32", MOST_PASSED_OVER as usize));
        }
        self.ended = true; // Unless it is text.
        let text = decode::text(&bytes).map_err(|error| Error::usage(format!("stdin: {error}")))?;
        self.ended = false;
        self.decoded = Some(Cursor::new(text.into_owned()));
        Ok(())
    }

    fn read(&mut self, from: &mut impl BufRead) -> Result<Line> {
        let (mut bytes, most) = (Vec::new(), self.most);
        // Behind the text come at most a carriage return and a line feed.
        let read = from.by_ref().take(most as u64 + 3).read_until(b'\n', &mut bytes).map_err(failed)?;
        if read == 0 || self.ended {
            return Ok(Line::End);
        }
        if bytes.last() != Some(&b'\n') && bytes.len() > most {
            self.ended = !pass_over_line(from)?;
        }
        let text = decode::text(&bytes).map_err(|error| Error::usage(format!("stdin: a line: {error}")));
        match text.map(|text| text.trim_end_matches(['\n', '\r']).to_owned()) {
            // What is cut may end within a character.
            _ if bytes.len() > most + 2 => Err(too_long("line", most)),
            Ok(text) if text.len() > most => Err(too_long("line", most)),
            Ok(text) => Ok(Line::Text(text)),
            Err(error) => Err(error),
        }
    }
}

/// Passes over the rest of a line; false where it does not end.
fn pass_over_line(from: &mut impl BufRead) -> Result<bool> {
    let mut left = MOST_PASSED_OVER;
    while left > 0 {
        let mut part = Vec::new();
        let read = from.by_ref().take(left.min(1 << 16)).read_until(b'\n', &mut part).map_err(failed)?;
        if read == 0 || part.last() == Some(&b'\n') {
            return Ok(true);
        }
        left -= read as u64;
    }
    Ok(false)
}

fn too_long(what: &str, most: usize) -> Error {
    Error::usage(format!("stdin: found a {what} of more than {most} bytes, expected at most {most}"))
}

fn failed(error: io::Error) -> Error {
    Error::run(format!("reading stdin failed: {error}"))
}

/// The history file in the folder that the system has for a program's state; its parent is made.
fn history_file() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        variable("LOCALAPPDATA")?
    } else {
        variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")))?
    };
    let folder = base.join("lapidary");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

fn terminal_fault(error: &ReadlineError) -> Error {
    Error::run(format!("reading from the terminal failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(most: usize) -> Lines {
        Lines { most, ..Lines::default() }
    }

    /// All lines, with a dash for each that was refused.
    fn all(most: usize, mut from: impl BufRead) -> Vec<String> {
        let (mut lines, mut all) = (lines(most), Vec::new());
        loop {
            match lines.next(&mut from) {
                Ok(Line::Text(line)) => all.push(line),
                Ok(_) => return all,
                Err(Error::Usage(_)) => all.push("-".to_owned()),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn lines_end_with_the_input() {
        assert_eq!(all(9, Cursor::new("a\r\n\nb")), ["a", "", "b"]);
        assert_eq!(all(9, Cursor::new([0xff, b'\n', b'a'])), ["-", "a"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        assert_eq!(
            all(4, Cursor::new("abcd\nabcde\nabcd\r\nabcdefghij\nab\nabcdefghi")),
            ["abcd", "-", "abcd", "-", "ab", "-"]
        );
        // One that does not end is the last.
        assert_eq!(all(4, io::BufReader::new(io::repeat(b'a'))), ["-"]);
        assert_eq!(all(4, io::BufReader::new(io::repeat(0))), ["-"]);
    }

    #[test]
    fn marks_say_how_lines_are_read() {
        let marked = "\u{FEFF}é\r\nb\n";
        let wide: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [marked.as_bytes(), &wide] {
            assert_eq!(all(9, Cursor::new(bytes)), ["é", "b"]);
        }
        assert_eq!(all(9, Cursor::new(&wide[..3])), ["-"]);
        assert_eq!(all(9, [0xFF, 0xFE].as_slice().chain(io::BufReader::new(io::repeat(0)))), ["-"]);
    }
}
