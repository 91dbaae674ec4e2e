//! Others with the same fault.

use std::fmt;

use super::harmless::{LISTED, QUOTED, harmless, spelled};

/// Other things of which the same is true.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Others {
    /// How many, without the one that is named.
    pub count: usize,
    /// The names of some of them.
    pub names: Vec<String>,
    form: Form,
}

/// How others are told of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// By the last of them.
    Last,
    /// By examples, of which there are so many more.
    Examples(usize),
    /// By their number alone.
    Count,
    /// By their number, all being this.
    FirstOf(&'static str),
}

impl Others {
    /// So many others, the last of them called so.
    pub(crate) fn until(count: usize, last: &str) -> Self {
        Others { count, names: vec![spelled(last)], form: Form::Last }
    }

    /// So many others, of which the first few of `examples` are named.
    pub(crate) fn such_as<'n>(count: usize, examples: impl ExactSizeIterator<Item = &'n str>) -> Self {
        let more = examples.len().saturating_sub(LISTED);
        let names = examples.take(LISTED).map(|name| spelled(&harmless(name, QUOTED))).collect();
        Others { count, names, form: Form::Examples(more) }
    }

    /// So many others.
    pub(crate) fn counted(count: usize) -> Self {
        Others { count, names: Vec::new(), form: Form::Count }
    }

    /// So many others, all of them being `what`.
    pub(crate) fn first_of(count: usize, what: &'static str) -> Self {
        Others { count, names: Vec::new(), form: Form::FirstOf(what) }
    }
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count;
        match (&self.form, self.names.as_slice()) {
            (Form::Last, [last, ..]) => write!(f, "; the same of {count} others, the last \"{last}\""),
            (Form::Examples(more), names) => {
                write!(f, "; the same of {count} others, such as \"{}\"", names.join("\", \""))?;
                if *more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            (Form::FirstOf(what), _) => write!(f, " (the first of {} {what})", count + 1),
            (Form::Count | Form::Last, _) => write!(f, " ({} such)", count + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_named_or_counted() {
        let said = |others: Others| others.to_string();
        assert_eq!(said(Others::until(2, "z\u{202e}")), "; the same of 2 others, the last \"z\\u{202e}\"");
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let few = said(Others::such_as(2, names[..2].iter().map(String::as_str)));
        assert_eq!(few, "; the same of 2 others, such as \"0\", \"1\"");
        let many = Others::such_as(10, names.iter().map(String::as_str));
        assert_eq!((many.names.len(), said(many).ends_with("\"7\" and 2 more")), (8, true));
        assert_eq!(said(Others::counted(1)), " (2 such)");
        assert_eq!(said(Others::first_of(1, "such matrices")), " (the first of 2 such matrices)");
    }
}
