//! What a shader's file says of itself in its first lines.

/// The head of a file in `shaders/`: comments of these forms, then an empty line.
///
/// ```text
/// // part: weights when packed
/// // needs half: bf16_value, f16_value
/// // needs around: params
/// // brings: rounding
/// // gives var: codes, scales
/// // gives fn: scale_of, weights8
/// ```
///
/// - `part`: which part of a text it is. Several files may be the same part: then each but one says by which words of a
///   variant it is picked, and the one that says none is taken for all others. Stems are no part.
/// - `needs PART`: names that it uses and that this part declares, or brings. `around` is no part: whoever uses the file has these
///   names anyway, or there is no such text. A stem without an entry point needs `main` of the part that has it.
/// - `brings`: parts that do some of what it gives.
/// - `gives KIND`: names that it declares.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// `None` for stems.
    pub part: Option<&'static str>,
    /// Words of a variant; any of them picks it.
    pub when: Vec<&'static str>,
    pub needs: Vec<Need>,
    pub brings: Vec<&'static str>,
    pub gives: Vec<Given>,
}

/// Names that a file uses, of one part.
#[derive(Debug)]
pub(super) struct Need {
    /// A part, or [`AROUND`].
    pub part: &'static str,
    pub names: Vec<&'static str>,
}

/// A name that a file declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Given {
    /// The keyword of its declaration.
    pub kind: &'static str,
    pub name: &'static str,
}

/// What [`Need::part`] is where any other part of a text may declare the names.
pub(super) const AROUND: &str = "around";

impl Head {
    /// The head of a file, and the text behind it.
    ///
    /// # Errors
    /// What is not of the form.
    pub(super) fn read(text: &'static str) -> Result<(Self, &'static str), String> {
        let mut head = Head::default();
        let mut rest = text;
        while let Some((line, behind)) = rest.split_once('\n')
            && !line.is_empty()
        {
            head.add(line).ok_or_else(|| format!("\"{line}\" is no line of a head"))?;
            rest = behind;
        }
        let wgsl = rest.strip_prefix('\n').ok_or("expected an empty line behind the head")?;
        Ok((head, wgsl))
    }

    /// Whether it declares `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.gives.iter().any(|given| given.name == name)
    }

    fn add(&mut self, line: &'static str) -> Option<()> {
        let (what, list) = line.strip_prefix("// ")?.split_once(": ")?;
        let names = || list.split(", ");
        match what.split_once(' ') {
            None if what == "part" => {
                let (part, when) = list.split_once(" when ").unwrap_or((list, ""));
                self.part = Some(part);
                self.when = when.split(", ").filter(|word| !word.is_empty()).collect();
            }
            None if what == "brings" => self.brings.extend(names()),
            Some(("needs", part)) => self.needs.push(Need { part, names: names().collect() }),
            Some(("gives", kind)) => self.gives.extend(names().map(|name| Given { kind, name })),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let text =
            "// part: weights when packed, dense\n// needs half: a, b\n// brings: c\n// gives fn: d, e\n\nfn d() {}\n";
        let (head, wgsl) = Head::read(text).unwrap();
        assert_eq!((head.part, head.when.as_slice()), (Some("weights"), &["packed", "dense"][..]));
        assert_eq!((head.needs[0].part, head.needs[0].names.as_slice()), ("half", &["a", "b"][..]));
        assert_eq!(head.brings, ["c"]);
        assert_eq!(head.gives, ["d", "e"].map(|name| Given { kind: "fn", name }));
        assert_eq!(wgsl, "fn d() {}\n");
        assert!(head.has("e") && !head.has("a"));
    }

    #[test]
    fn other_lines_are_refused() {
        let why = |text| Head::read(text).unwrap_err();
        assert_eq!(why("// part: a\n// Says more.\n\n"), "\"// Says more.\" is no line of a head");
        assert_eq!(why("// part: a\nfn b() {}\n"), "\"fn b() {}\" is no line of a head");
        assert_eq!(why("// takes fn: a\n\n"), "\"// takes fn: a\" is no line of a head");
        assert_eq!(why("// part: a\n"), "expected an empty line behind the head");
    }
}
