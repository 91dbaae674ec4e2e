//! The source as tokens, by the rules of jinja2's lexer with `trim_blocks` and `lstrip_blocks`.

use std::rc::Rc;

use num_bigint::BigInt;

use super::chars::{is_identifier, is_space, is_word};
use super::fault::{Fault, Run};

/// One token and its line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: u32,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Data(Rc<str>),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(Rc<str>),
    Str(Rc<str>),
    Int(Rc<BigInt>),
    Float(f64),
    Op(&'static str),
    End,
}

const OPERATORS: [&str; 27] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";", "!",
];

/// Digits of an integer in a source: Python reads no more.
const INT_DIGITS: usize = 4300;

/// `\r\n` and `\r` as `\n`, without a byte order mark ahead and without the one last line end.
pub(super) fn normalized(source: &str) -> String {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// The tokens of a source that is [`normalized`].
pub(super) fn tokens(source: &str) -> Run<Vec<Token>> {
    let mut lexer = Lexer { source, at: 0, line: 1, line_starts: true, brackets: Vec::new(), tokens: Vec::new() };
    while lexer.at < source.len() {
        lexer.root()?;
    }
    lexer.push(Kind::End);
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    /// Whether what was read last ends a line.
    line_starts: bool,
    brackets: Vec<&'static str>,
    tokens: Vec<Token>,
}

/// How a tag begins.
#[derive(Clone, Copy, PartialEq)]
enum Opening {
    Raw,
    Comment,
    Block,
    Variable,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, line: self.line });
    }

    fn fault<T>(&self, text: &str) -> Run<T> {
        Err(Fault::Syntax(format!("{text} in line {}", self.line)))
    }

    /// Moves on behind `bytes`, counting lines.
    fn advance(&mut self, bytes: usize) {
        let passed = &self.source[self.at..self.at + bytes];
        self.line += passed.bytes().filter(|b| *b == b'\n').count() as u32;
        self.line_starts = passed.ends_with('\n');
        self.at += bytes;
    }

    /// Data up to the next tag, and the tag.
    fn root(&mut self) -> Run<()> {
        let rest = self.rest();
        let Some((start, opening)) = find_tag(rest) else {
            self.push(Kind::Data(rest.into()));
            self.advance(rest.len());
            return Ok(());
        };
        let sign = rest.as_bytes().get(start + 2).copied().filter(|b| matches!(b, b'-' | b'+'));
        let text = self.stripped(&rest[..start], sign, opening);
        if !text.is_empty() {
            self.push(Kind::Data(text.into()));
        }
        let tag = match opening {
            Opening::Raw => raw_begin(&rest[start..]).unwrap_or(0),
            _ => 2 + usize::from(sign.is_some()),
        };
        self.advance(start + tag);
        match opening {
            Opening::Raw => self.raw(),
            Opening::Comment => self.comment(),
            Opening::Block => {
                self.push(Kind::BlockBegin);
                self.inside(true)
            }
            Opening::Variable => {
                self.push(Kind::VariableBegin);
                self.inside(false)
            }
        }
    }

    /// The data ahead of a tag, as the tag leaves it.
    fn stripped<'t>(&self, text: &'t str, sign: Option<u8>, opening: Opening) -> &'t str {
        match sign {
            Some(b'-') => text.trim_end_matches(is_space),
            None if opening != Opening::Variable => {
                let line = text.rfind('\n').map_or(0, |at| at + 1);
                let blank = line < text.len() && text[line..].chars().all(is_space);
                if (line > 0 || self.line_starts) && blank { &text[..line] } else { text }
            }
            _ => text,
        }
    }

    fn raw(&mut self) -> Run<()> {
        let rest = self.rest();
        let mut from = 0;
        while let Some(found) = rest[from..].find("{%") {
            let start = from + found;
            let sign = rest.as_bytes().get(start + 2).copied().filter(|b| matches!(b, b'-' | b'+'));
            let name = rest[start + 2 + usize::from(sign.is_some())..].trim_start_matches(is_space);
            let end = name.strip_prefix("endraw").map(|end| end.trim_start_matches(is_space));
            if let Some((end, length)) = end.and_then(|end| Some((end, block_end(end)?))) {
                let text = self.stripped(&rest[..start], sign, Opening::Raw);
                if !text.is_empty() {
                    self.push(Kind::Data(text.into()));
                }
                self.advance(rest.len() - end.len() + length);
                return Ok(());
            }
            from = start + 2;
        }
        self.fault("missing end of raw directive")
    }

    fn comment(&mut self) -> Run<()> {
        let rest = self.rest();
        let Some(end) = rest.find("#}") else {
            // One that begins at the very end is nothing, as in Jinja.
            return if rest.is_empty() { Ok(()) } else { self.fault("missing end of comment tag") };
        };
        // `-#}` takes the white space behind it, `#}` one line end, `+#}` nothing.
        let behind = &rest[end + 2..];
        let more = match rest.as_bytes()[..end].last() {
            Some(b'+') => 0,
            Some(b'-') => behind.len() - behind.trim_start_matches(is_space).len(),
            _ => usize::from(behind.starts_with('\n')),
        };
        self.advance(end + 2 + more);
        Ok(())
    }

    /// Tokens up to the end of a block or variable.
    fn inside(&mut self, block: bool) -> Run<()> {
        self.brackets.clear();
        while let Some(first) = self.rest().chars().next() {
            let rest = self.rest();
            let end = if block { block_end(rest) } else { variable_end(rest) };
            if let (true, Some(length)) = (self.brackets.is_empty(), end) {
                self.push(if block { Kind::BlockEnd } else { Kind::VariableEnd });
                self.advance(length);
                return Ok(());
            }
            if is_space(first) {
                self.advance(rest.len() - rest.trim_start_matches(is_space).len());
            } else if first.is_ascii_digit() {
                self.number()?;
            } else if is_word(first) {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let name = &rest[..length];
                if !is_identifier(name) {
                    return self.fault("invalid character in identifier");
                }
                self.push(Kind::Name(name.into()));
                self.advance(length);
            } else if matches!(first, '\'' | '"') {
                self.string(first)?;
            } else {
                self.operator(first)?;
            }
        }
        Ok(())
    }

    fn operator(&mut self, first: char) -> Run<()> {
        let rest = self.rest();
        let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)).filter(|op| **op != "!") else {
            return self.fault(&format!("unexpected char {first:?}"));
        };
        match *op {
            "(" => self.brackets.push(")"),
            "[" => self.brackets.push("]"),
            "{" => self.brackets.push("}"),
            ")" | "]" | "}" => match self.brackets.pop() {
                Some(expected) if expected == *op => {}
                Some(expected) => return self.fault(&format!("unexpected '{op}', expected '{expected}'")),
                None => return self.fault(&format!("unexpected '{op}'")),
            },
            _ => {}
        }
        self.push(Kind::Op(op));
        self.advance(op.len());
        Ok(())
    }

    fn number(&mut self) -> Run<()> {
        let rest = self.rest();
        let after_dot = self.source[..self.at].ends_with('.');
        if let Some(length) = float_length(rest).filter(|_| !after_dot) {
            let digits = rest[..length].replace('_', "");
            let Ok(value) = digits.parse() else { return self.fault("invalid float") };
            self.push(Kind::Float(value));
            self.advance(length);
            return Ok(());
        }
        let (length, radix) = int_length(rest);
        let digits = rest[..length].replace('_', "");
        let digits = if radix == 10 { &digits } else { &digits[2..] };
        if digits.len() > INT_DIGITS {
            return self.fault(&format!("found an integer of {} digits, expected at most {INT_DIGITS}", digits.len()));
        }
        let Some(value) = BigInt::parse_bytes(digits.as_bytes(), radix) else { return self.fault("invalid integer") };
        self.push(Kind::Int(Rc::new(value)));
        self.advance(length);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Run<()> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, c)| match (escaped, *c) {
            (true, _) => {
                escaped = false;
                false
            }
            (false, '\\') => {
                escaped = true;
                false
            }
            (false, c) => c == quote,
        });
        let Some((end, _)) = end else { return self.fault(&format!("unexpected char {quote:?}")) };
        match unescaped(&rest[1..end]) {
            Ok(text) => self.push(Kind::Str(text.into())),
            Err(what) => return self.fault(what),
        }
        self.advance(end + 1);
        Ok(())
    }
}

/// The next tag of any kind.
fn find_tag(text: &str) -> Option<(usize, Opening)> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find('{')?;
        match text.as_bytes().get(at + 1) {
            Some(b'%') if raw_begin(&text[at..]).is_some() => return Some((at, Opening::Raw)),
            Some(b'%') => return Some((at, Opening::Block)),
            Some(b'#') => return Some((at, Opening::Comment)),
            Some(b'{') => return Some((at, Opening::Variable)),
            _ => from = at + 1,
        }
    }
}

/// The length of `{% raw %}` at the start of `text`.
fn raw_begin(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("{%")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner).trim_start_matches(is_space);
    let end = inner.strip_prefix("raw")?.trim_start_matches(is_space);
    let behind = match end.strip_prefix("-%}") {
        Some(behind) => behind.trim_start_matches(is_space),
        None => end.strip_prefix("%}")?,
    };
    Some(text.len() - behind.len())
}

/// The length of a block's end at the start of `text`, with the white space that it takes.
fn block_end(text: &str) -> Option<usize> {
    if text.starts_with("+%}") {
        return Some(3);
    }
    if let Some(behind) = text.strip_prefix("-%}") {
        return Some(text.len() - behind.trim_start_matches(is_space).len());
    }
    let behind = text.strip_prefix("%}")?;
    Some(2 + usize::from(behind.starts_with('\n')))
}

fn variable_end(text: &str) -> Option<usize> {
    if let Some(behind) = text.strip_prefix("-}}") {
        return Some(text.len() - behind.trim_start_matches(is_space).len());
    }
    text.starts_with("}}").then_some(2)
}

/// The length of digits with single underscores between them.
fn digits(text: &[u8], digit: impl Fn(u8) -> bool) -> usize {
    let mut length = 0;
    loop {
        match text.get(length) {
            Some(b) if digit(*b) => length += 1,
            Some(b'_') if length > 0 && text.get(length + 1).is_some_and(|b| digit(*b)) => length += 2,
            _ => return length,
        }
    }
}

/// The length of a float at the start of `text`.
fn float_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let decimal = |b: u8| b.is_ascii_digit();
    let mut length = digits(bytes, decimal);
    let mut float = false;
    if bytes.get(length) == Some(&b'.') {
        let fraction = digits(&bytes[length + 1..], decimal);
        if fraction > 0 {
            length += 1 + fraction;
            float = true;
        }
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(&bytes[length + 1 + sign..], decimal);
        if exponent > 0 {
            return Some(length + 1 + sign + exponent);
        }
    }
    float.then_some(length)
}

/// The length and the radix of an integer at the start of `text`.
fn int_length(text: &str) -> (usize, u32) {
    let bytes = text.as_bytes();
    let radix = match bytes.get(..2) {
        Some(b"0b" | b"0B") => 2,
        Some(b"0o" | b"0O") => 8,
        Some(b"0x" | b"0X") => 16,
        _ => 10,
    };
    if radix != 10 {
        let is_digit = |b: u8| (b as char).is_digit(radix);
        let from = 2 + usize::from(bytes.get(2) == Some(&b'_'));
        let length = digits(&bytes[from.min(bytes.len())..], is_digit);
        if length > 0 {
            return (from + length, radix);
        }
    }
    if bytes[0] == b'0' {
        return (digits(bytes, |b| b == b'0'), 10);
    }
    (digits(bytes, |b| b.is_ascii_digit()), 10)
}

/// A string literal's escapes, as Python's `unicode-escape` reads what `backslashreplace` wrote.
fn unescaped(text: &str) -> Result<String, &'static str> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    // Characters beyond ASCII become escapes first; one behind a backslash loses its own.
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c) {
            0..=0x7f => ascii.push(c),
            code @ 0..=0xff => ascii.push_str(&format!("\\x{code:02x}")),
            code @ 0..=0xffff => ascii.push_str(&format!("\\u{code:04x}")),
            code => ascii.push_str(&format!("\\U{code:08x}")),
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = ascii.as_str();
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or("");
        let plain = match escape {
            b'\n' => continue,
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'a' => '\u{7}',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'v' => '\u{b}',
            b'\\' | b'\'' | b'"' => escape as char,
            b'x' => coded(&mut rest, 2, "truncated \\xXX escape")?,
            b'u' => coded(&mut rest, 4, "truncated \\uXXXX escape")?,
            b'U' => coded(&mut rest, 8, "truncated \\UXXXXXXXX escape")?,
            b'N' => return Err("found \\N{...}, expected a character or \\u"),
            b'0'..=b'7' => {
                let more = rest.bytes().take(2).take_while(|b| matches!(b, b'0'..=b'7')).count();
                let code =
                    rest[..more].bytes().fold(u32::from(escape - b'0'), |code, b| code * 8 + u32::from(b - b'0'));
                rest = &rest[more..];
                char::from_u32(code).ok_or("illegal octal escape")?
            }
            other => {
                out.push('\\');
                other as char
            }
        };
        out.push(plain);
    }
    out.push_str(rest);
    Ok(out)
}

/// A character given by exactly `length` hexadecimal digits.
fn coded(rest: &mut &str, length: usize, fault: &'static str) -> Result<char, &'static str> {
    let digits = rest.get(..length).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).ok_or(fault)?;
    *rest = &rest[length..];
    let code = u32::from_str_radix(digits, 16).map_err(|_| fault)?;
    char::from_u32(code).ok_or("found half a surrogate pair or no character, expected a character")
}
