//! Names and patterns of single matrices, as tools write them.

/// The segments that such prefixes are made of, and those that wrappers of modules add.
const WRAPPERS: [&str; 5] = ["model", "language_model", "base_model", "module", "_orig_mod"];
/// Characters that make a pattern of a name, as AutoRound has it.
const SPECIAL: [char; 13] = ['*', '+', '?', '^', '$', '(', ')', '[', ']', '{', '}', '|', '\\'];

/// What an entry is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Name {
    /// One matrix, without prefix.
    Exact(String),
    /// Those whose names, without prefix, begin so.
    Start(String),
    /// Those that a regular expression fits from the start of the name on, or anywhere in it.
    Pattern { text: String, anywhere: bool },
    /// All: the class `Linear`.
    Every,
    /// Nobody knows: another class of modules.
    Unknown,
}

impl Name {
    pub(super) fn exact(name: &str) -> Self {
        Name::Exact(bare(name).to_owned())
    }

    /// A pattern that must fit from the start on (`re.match`), of GPTQModel and compressed-tensors. Most are one name with a
    /// backslash before each dot, in files of thousands, and need no engine.
    pub(super) fn matched(pattern: &str) -> Self {
        let inner = pattern.strip_prefix('^').unwrap_or(pattern);
        let (inner, ends) = match inner.strip_suffix('$') {
            Some(inner) if !inner.ends_with('\\') => (inner, true),
            _ => (inner, false),
        };
        match literal(inner) {
            Some(name) if ends => Name::exact(&name),
            Some(name) if bare(&name).starts_with("layers.") => Name::Start(bare(&name).to_owned()),
            _ => Name::Pattern { text: unwrapped(pattern).to_owned(), anywhere: false },
        }
    }

    /// A name, or a pattern that may fit anywhere (`re.search`), of AutoRound.
    pub(super) fn found(text: &str) -> Self {
        if !text.contains(SPECIAL) {
            return Name::exact(text);
        }
        if text.starts_with('^') || text.starts_with(r"\A") {
            return Name::matched(text);
        }
        Name::Pattern { text: unwrapped(text).to_owned(), anywhere: true }
    }
}

/// The name that a pattern is, if it is one. A dot that stands for any character is taken for a dot.
fn literal(pattern: &str) -> Option<String> {
    let (mut out, mut characters) = (String::new(), pattern.chars());
    while let Some(c) = characters.next() {
        match c {
            '\\' => out.push(characters.next().filter(char::is_ascii_punctuation)?),
            c if SPECIAL.contains(&c) => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

/// `name` without the prefix of the text model.
pub(super) fn bare(name: &str) -> &str {
    let mut rest = name;
    while let Some((_, tail)) = rest.split_once('.').filter(|(first, _)| WRAPPERS.contains(first)) {
        rest = tail;
    }
    rest
}

/// `pattern` without the prefixes that it begins with, and what ties it to the start: names are tried without theirs too.
fn unwrapped(pattern: &str) -> &str {
    let mut rest = pattern.strip_prefix('^').or_else(|| pattern.strip_prefix(r"\A")).unwrap_or(pattern);
    while let Some(tail) = WRAPPERS.iter().find_map(|wrapper| {
        let tail = rest.strip_prefix(wrapper)?;
        let tail = tail.strip_prefix(r"\.").or_else(|| tail.strip_prefix('.'))?;
        (!tail.starts_with(['*', '+', '?', '{'])).then_some(tail)
    }) {
        rest = tail;
    }
    rest
}
