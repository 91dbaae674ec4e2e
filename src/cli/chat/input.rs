//! Messages from the user: with line editing and history at a terminal, line by line from anything else.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use lapidary::{Error, Result};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use super::super::signals;
use super::super::terminal::note;

/// Begins and ends a message of several lines.
const FENCE: &str = "\"\"\"";
const PROMPT: &str = ">>> ";
const CONTINUED: &str = "... ";

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
    Lines { typed: bool },
}

impl Reader {
    /// A reader of stdin.
    ///
    /// # Errors
    /// [`Error::Run`] where the terminal cannot be used.
    pub(super) fn new() -> Result<Self> {
        let typed = io::stdin().is_terminal();
        if !typed || !io::stdout().is_terminal() {
            return Ok(Reader::Lines { typed });
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
        matches!(self, Reader::Terminal { .. } | Reader::Lines { typed: true })
    }

    /// Whether a person types and sees the answers at the same place.
    pub(super) fn is_edited(&self) -> bool {
        matches!(self, Reader::Terminal { .. })
    }

    /// The next message or command; lines without text are passed over.
    ///
    /// # Errors
    /// [`Error::Run`] where the terminal fails, [`Error::Usage`] for a line that is no text.
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
        loop {
            if let Some(text) = message.trim_end().strip_suffix(FENCE) {
                return Ok(Some(text.trim_matches('\n').to_owned()));
            }
            match self.line(CONTINUED)? {
                Line::Text(line) => message = message + "\n" + &line,
                Line::Dropped => return Ok(None),
                // The end of the input ends the message too.
                Line::End => return Ok(Some(message.trim_matches('\n').to_owned())),
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
            Reader::Lines { typed } => {
                if *typed && io::stderr().is_terminal() {
                    write!(io::stderr(), "{prompt}").ok();
                }
                read_line(&mut io::stdin().lock())
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

fn read_line(from: &mut impl BufRead) -> Result<Line> {
    let mut bytes = Vec::new();
    let read = from.read_until(b'\n', &mut bytes).map_err(|e| Error::Run(format!("reading stdin failed: {e}")))?;
    if read == 0 {
        return Ok(Line::End);
    }
    let text =
        String::from_utf8(bytes).map_err(|_| Error::Usage("stdin: found a line that is not UTF-8 text".into()))?;
    Ok(Line::Text(text.trim_end_matches(['\n', '\r']).to_owned()))
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
    Error::Run(format!("reading from the terminal failed: {error}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_the_input() {
        let mut from = io::Cursor::new("a\r\n\nb");
        let mut lines = Vec::new();
        while let Line::Text(line) = read_line(&mut from).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, ["a", "", "b"]);
        assert!(read_line(&mut io::Cursor::new([0xff, b'\n'])).is_err());
    }
}
