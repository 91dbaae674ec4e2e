//! Streaming an answer to the terminal: the answer plain, thoughts and tool calls dim.

use std::io::{self, IsTerminal, Write};

use lapidary::text::Kind;

use super::super::terminal::{has_style, shown};

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Where an answer's pieces go. To a terminal everything goes, the model's asides dim or, without escape codes, behind
/// their name. To anything else only the answer goes; asides go to stderr.
pub(super) struct Show {
    interactive: bool,
    terminal: bool,
    style: bool,
    kind: Option<Kind>,
    at_line_start: bool,
}

impl Show {
    /// Nothing shown yet. After an interactive answer comes an empty line.
    pub(super) fn new(interactive: bool) -> Self {
        Show { interactive, terminal: io::stdout().is_terminal(), style: has_style(), kind: None, at_line_start: true }
    }

    /// Shows a piece at once.
    ///
    /// # Errors
    /// What stdout says.
    pub(super) fn piece(&mut self, kind: Kind, text: &str) -> io::Result<()> {
        if self.kind != Some(kind) {
            self.begin(kind)?;
        }
        if !self.terminal && kind != Kind::Answer {
            let mut err = io::stderr();
            err.write_all(shown(text, err.is_terminal()).as_bytes()).ok();
        } else {
            let mut out = io::stdout().lock();
            out.write_all(shown(text, self.terminal).as_bytes())?;
            out.flush()?;
        }
        self.at_line_start = text.ends_with('\n');
        Ok(())
    }

    /// Ends the answer's last line and all styles.
    ///
    /// # Errors
    /// What stdout says.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.leave()?;
        let mut out = io::stdout().lock();
        if self.interactive {
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    fn begin(&mut self, kind: Kind) -> io::Result<()> {
        self.leave()?;
        self.kind = Some(kind);
        let name = match kind {
            Kind::Answer => return Ok(()),
            Kind::Thinking => "thinking: ",
            Kind::ToolCall => "tool call: ",
        };
        match (self.terminal, self.style) {
            (true, true) => io::stdout().write_all(DIM.as_bytes()),
            (true, false) => io::stdout().write_all(name.as_bytes()),
            (false, _) => {
                io::stderr().write_all(name.as_bytes()).ok();
                Ok(())
            }
        }
    }

    /// Ends the line and the style of what was shown last.
    fn leave(&mut self) -> io::Result<()> {
        let Some(kind) = self.kind.take() else { return Ok(()) };
        if !self.terminal && kind != Kind::Answer {
            if !self.at_line_start {
                io::stderr().write_all(b"\n").ok();
            }
        } else {
            let mut out = io::stdout().lock();
            if kind != Kind::Answer && self.style {
                out.write_all(PLAIN.as_bytes())?;
            }
            if !self.at_line_start {
                out.write_all(b"\n")?;
            }
        }
        self.at_line_start = true;
        Ok(())
    }
}
