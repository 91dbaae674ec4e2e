//! What begins with a slash.

use lapidary::{Error, Result};

/// What `/help` prints.
pub(super) const HELP: &str = "\
/help              this text
/clear             forget the conversation; the system text stays
/system TEXT       instructions ahead of the conversation; /system none removes them, /system shows them
/think on|off      let the model think before it answers
/stats             speed of the last answer, context, memory, settings
/set KEY VALUE     temperature, top-k, top-p, seed (a number or random), max-tokens (a number or none); /set shows them
/exit              leave, as Ctrl-D does
\"\"\"                begins and ends a message of several lines, which may also begin with a slash
Ctrl-C             stops the answer and keeps the chat";

/// A setting, and what it is to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) key: String,
    pub(super) value: String,
}

/// A command, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Clear,
    Stats,
    Exit,
    /// `None` shows the text.
    System(Option<String>),
    /// `None` shows the switch.
    Think(Option<bool>),
    /// `None` shows all settings.
    Set(Option<Assignment>),
}

impl Command {
    /// Reads a line that begins with a slash.
    ///
    /// # Errors
    /// [`Error::Usage`] that says how it is written, or which commands there are.
    pub(super) fn read(line: &str) -> Result<Self> {
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let bare = |command: Self| match rest {
            "" => Ok(command),
            _ => Err(Error::usage(format!("{name}: found {rest:?}, expected nothing behind it"))),
        };
        match name {
            "/help" | "/?" => bare(Command::Help),
            "/clear" => bare(Command::Clear),
            "/stats" => bare(Command::Stats),
            "/exit" | "/quit" | "/bye" => bare(Command::Exit),
            "/system" => Ok(Command::System(Some(rest.to_owned()).filter(|text| !text.is_empty()))),
            "/think" => match rest {
                "" => Ok(Command::Think(None)),
                "on" => Ok(Command::Think(Some(true))),
                "off" => Ok(Command::Think(Some(false))),
                _ => Err(Error::usage(format!("/think: found {rest:?}, expected on or off"))),
            },
            "/set" if rest.is_empty() => Ok(Command::Set(None)),
            "/set" => match rest.split_once(char::is_whitespace) {
                Some((key, value)) => {
                    Ok(Command::Set(Some(Assignment { key: key.to_owned(), value: value.trim().to_owned() })))
                }
                None => Err(Error::usage(format!("/set {rest}: found no value, expected /set KEY VALUE"))),
            },
            _ => Err(Error::usage(format!(
                "no command {name}; /help lists them, and a message that begins with a slash is written between \"\"\""
            ))),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        let set = |key: &str, value: &str| Command::Set(Some(Assignment { key: key.into(), value: value.into() }));
        for (line, command) in [
            ("/help", Command::Help),
            ("/clear ", Command::Clear),
            ("/think on", Command::Think(Some(true))),
            ("/think", Command::Think(None)),
            ("/set temperature  0.5 ", set("temperature", "0.5")),
            ("/set", Command::Set(None)),
            ("/system", Command::System(None)),
            ("/system  Be brief. ", Command::System(Some("Be brief.".into()))),
        ] {
            assert_eq!(Command::read(line).unwrap(), command, "{line}");
        }
    }

    #[test]
    fn what_is_no_command_gets_one_helpful_line() {
        for (line, word) in
            [("/hlep", "/help"), ("/think maybe", "on or off"), ("/set seed", "KEY VALUE"), ("/clear all", "nothing")]
        {
            let error = Command::read(line).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains('\n'), "{line}: {error}");
        }
    }
}
