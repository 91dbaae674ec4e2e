//! Classes of characters as Python has them.

use unicode_properties::{GeneralCategory as Category, UnicodeGeneralCategory};

/// `str.isspace`.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// What `str.splitlines` ends lines at; `\r\n` is one end.
pub(super) fn ends_line(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// `\w` of regular expressions.
pub(super) fn is_word(c: char) -> bool {
    c == '_' || is_alnum(c)
}

/// `str.isalpha`.
pub(super) fn is_alpha(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphabetic();
    }
    matches!(
        c.general_category(),
        Category::UppercaseLetter
            | Category::LowercaseLetter
            | Category::TitlecaseLetter
            | Category::ModifierLetter
            | Category::OtherLetter
    )
}

/// `str.isdecimal`.
pub(super) fn is_decimal(c: char) -> bool {
    c.is_ascii_digit() || (!c.is_ascii() && c.general_category() == Category::DecimalNumber)
}

/// `str.isdigit`: decimals, and digits in circles, above and below the line.
pub(super) fn is_digit(c: char) -> bool {
    is_decimal(c)
        || matches!(c,
            '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{1369}'..='\u{1371}' | '\u{19da}' | '\u{2070}' | '\u{2074}'..='\u{2079}'
            | '\u{2080}'..='\u{2089}' | '\u{2460}'..='\u{2468}' | '\u{2474}'..='\u{247c}' | '\u{2488}'..='\u{2490}'
            | '\u{24ea}' | '\u{24f5}'..='\u{24fd}' | '\u{24ff}' | '\u{2776}'..='\u{277e}' | '\u{2780}'..='\u{2788}'
            | '\u{278a}'..='\u{2792}' | '\u{10a40}'..='\u{10a43}' | '\u{10e60}'..='\u{10e68}'
            | '\u{11052}'..='\u{1105a}' | '\u{1f100}'..='\u{1f10a}')
}

/// `str.isnumeric`, but for the numbers among ideographs beyond the common ones.
pub(super) fn is_numeric(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_digit();
    }
    matches!(c.general_category(), Category::DecimalNumber | Category::LetterNumber | Category::OtherNumber)
        || "一二三四五六七八九十百千万萬亿億兆零〇壱壹弐贰貳弍叁參参叄肆伍陆陸柒漆捌玖拾佰仟廿卅卌".contains(c)
}

/// `str.isalnum`.
pub(super) fn is_alnum(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() } else { is_alpha(c) || is_numeric(c) || is_digit(c) }
}

/// `str.isprintable`, which decides what `repr` escapes.
pub(super) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    !matches!(
        c.general_category(),
        Category::Control
            | Category::Format
            | Category::Surrogate
            | Category::PrivateUse
            | Category::Unassigned
            | Category::LineSeparator
            | Category::ParagraphSeparator
            | Category::SpaceSeparator
    )
}

/// `str.isidentifier`, for what [`is_word`] lets through.
pub(super) fn is_identifier(text: &str) -> bool {
    let begins = |c: char| c == '_' || is_alpha(c) || (!c.is_ascii() && c.general_category() == Category::LetterNumber);
    let goes_on = |c: char| begins(c) || is_decimal(c);
    let mut chars = text.chars();
    chars.next().is_some_and(begins) && chars.all(goes_on)
}

/// Whether the character has a case that `str.title` and `str.istitle` go by.
pub(super) fn is_cased(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphabetic();
    }
    c.is_lowercase() || c.is_uppercase() || c.general_category() == Category::TitlecaseLetter
}

/// Whether a word goes on here in `str.title`, though the character has no case: accents and the like do not end it.
pub(super) fn is_titlecase(c: char) -> bool {
    !c.is_ascii() && c.general_category() == Category::TitlecaseLetter
}

/// The character as a word in a title begins with it.
pub(super) fn push_title(c: char, out: &mut String) {
    match c {
        // Digraphs have a third form, with only their first letter large.
        '\u{1c4}'..='\u{1c6}' => out.push('\u{1c5}'),
        '\u{1c7}'..='\u{1c9}' => out.push('\u{1c8}'),
        '\u{1ca}'..='\u{1cc}' => out.push('\u{1cb}'),
        '\u{1f1}'..='\u{1f3}' => out.push('\u{1f2}'),
        '\u{149}' => out.push_str("\u{2bc}N"),
        // Greek letters with an iota below keep it below; Georgian ones have no large form in titles.
        '\u{1f80}'..='\u{1faf}' => out.extend(char::from_u32(u32::from(c) | 8)),
        '\u{1fb3}' => out.push('\u{1fbc}'),
        '\u{1fc3}' => out.push('\u{1fcc}'),
        '\u{1ff3}' => out.push('\u{1ffc}'),
        '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}' | '\u{10d0}'..='\u{10ff}' => out.push(c),
        '\u{1fb2}' => out.push_str("\u{1fba}\u{345}"),
        '\u{1fb4}' => out.push_str("\u{386}\u{345}"),
        '\u{1fb7}' => out.push_str("\u{391}\u{342}\u{345}"),
        '\u{1fc2}' => out.push_str("\u{1fca}\u{345}"),
        '\u{1fc4}' => out.push_str("\u{389}\u{345}"),
        '\u{1fc7}' => out.push_str("\u{397}\u{342}\u{345}"),
        '\u{1ff2}' => out.push_str("\u{1ffa}\u{345}"),
        '\u{1ff4}' => out.push_str("\u{38f}\u{345}"),
        '\u{1ff7}' => out.push_str("\u{3a9}\u{342}\u{345}"),
        _ => {
            let mut upper = c.to_uppercase();
            out.extend(upper.next());
            for more in upper {
                out.extend(more.to_lowercase());
            }
        }
    }
}

/// The character without its case, for comparing.
pub(super) fn push_folded(c: char, out: &mut String) {
    match c {
        'ς' => out.push('σ'),
        '\u{1e9e}' | 'ß' => out.push_str("ss"),
        // Small Cherokee letters fold to large ones.
        '\u{13a0}'..='\u{13f5}' => out.push(c),
        '\u{13f8}'..='\u{13fd}' | '\u{ab70}'..='\u{abbf}' => out.extend(c.to_uppercase()),
        'İ' => out.push_str("i\u{307}"),
        'ı' => out.push('ı'),
        _ => {
            for upper in c.to_uppercase() {
                out.extend(upper.to_lowercase());
            }
        }
    }
}
