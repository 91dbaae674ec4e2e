//! From a stem and the words of a variant to the snippets that make its text.

use super::head::AROUND;
use super::library::{Library, Snippet};
use super::rules::{CHOICES, allows};

/// The words of all variants of a stem: what can be composed, and uses each of its words.
pub(super) fn variants(library: &Library, stem: &Snippet) -> Vec<Vec<&'static str>> {
    let reachable = reachable(library, stem);
    let mut variants: Vec<Vec<&'static str>> = vec![Vec::new()];
    for choice in CHOICES {
        let words = || choice.iter().copied().filter(|word| reachable.iter().any(|part| part.head.when.contains(word)));
        variants = variants
            .into_iter()
            .flat_map(|variant| {
                let more: Vec<_> = words().map(|word| [variant.as_slice(), &[word]].concat()).collect();
                std::iter::once(variant).chain(more)
            })
            .collect();
    }
    variants.retain(|words| {
        let is_used = |word: &&'static str, parts: &[&Snippet]| parts.iter().any(|part| part.head.when.contains(word));
        let is_whole = |parts: Vec<&Snippet>| words.iter().all(|word| is_used(word, &parts));
        allows(stem, words) && compose(library, stem, words).is_ok_and(is_whole)
    });
    variants
}

/// The snippets of a text, in their order, the stem last.
///
/// # Errors
/// What is missing, where these words make no text of this stem.
pub(super) fn compose<'a>(library: &'a Library, stem: &'a Snippet, words: &[&str]) -> Result<Vec<&'a Snippet>, String> {
    let mut parts: Vec<&Snippet> = vec![stem];
    let mut done = 0;
    while let Some(&snippet) = parts.get(done) {
        for part in wanted(snippet) {
            if !parts.iter().any(|other| other.head.part == Some(part)) {
                parts.push(pick(library, part, words).map_err(|why| format!("{}: {why}", snippet.name))?);
            }
        }
        done += 1;
    }
    for snippet in &parts {
        check(&parts, snippet)?;
    }
    let place = |part: &&Snippet| library.common.iter().position(|other| other.name == part.name);
    parts.sort_by_key(|part| place(part).unwrap_or(library.common.len()));
    Ok(parts)
}

/// The file that is `part` in a variant.
fn pick<'a>(library: &'a Library, part: &str, words: &[&str]) -> Result<&'a Snippet, String> {
    let of_part = || library.common.iter().filter(|snippet| snippet.head.part == Some(part));
    let chosen = of_part().find(|snippet| snippet.head.when.iter().any(|word| words.contains(word)));
    let otherwise = || of_part().find(|snippet| snippet.head.when.is_empty());
    chosen.or_else(otherwise).ok_or_else(|| format!("nothing is \"{part}\" with {words:?}"))
}

/// The parts that a snippet names.
fn wanted(snippet: &Snippet) -> impl Iterator<Item = &'static str> {
    let needs = snippet.head.needs.iter().map(|need| need.part).filter(|part| *part != AROUND);
    needs.chain(snippet.head.brings.iter().copied())
}

/// Every file that is some part of some text of the stem.
fn reachable<'a>(library: &'a Library, stem: &'a Snippet) -> Vec<&'a Snippet> {
    let mut all = vec![stem];
    let mut done = 0;
    while let Some(&snippet) = all.get(done) {
        for part in wanted(snippet) {
            let of_part = library.common.iter().filter(|other| other.head.part == Some(part));
            for other in of_part {
                if !all.iter().any(|one| one.name == other.name) {
                    all.push(other);
                }
            }
        }
        done += 1;
    }
    all
}

/// Whether the parts of a text give all that one of them needs, each from where it says.
fn check(parts: &[&Snippet], snippet: &Snippet) -> Result<(), String> {
    for need in &snippet.head.needs {
        for &name in &need.names {
            let is_given = match need.part {
                AROUND => parts.iter().any(|other| other.name != snippet.name && other.head.has(name)),
                part => gives(parts, part, name),
            };
            if !is_given {
                return Err(format!("{} needs {name} of \"{}\", which does not give it", snippet.name, need.part));
            }
        }
    }
    Ok(())
}

/// Whether a part gives a name, itself or by what it brings.
fn gives(parts: &[&Snippet], part: &str, name: &str) -> bool {
    let is_part = |snippet: &&&Snippet| snippet.head.part == Some(part);
    parts.iter().find(is_part).is_some_and(|snippet| {
        let brought = || snippet.head.brings.iter().any(|brought| gives(parts, brought, name));
        snippet.head.has(name) || brought()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variants_of(stem: &str) -> Vec<String> {
        let library = Library::read();
        let stem = library.stems.iter().find(|snippet| snippet.name == stem).expect("a stem");
        variants(&library, stem).iter().map(|words| words.join(" ")).collect()
    }

    #[test]
    fn variants_are_what_can_be_composed() {
        // Not "dense rounded" and not "dense dot": dense weights have no codes.
        let few = ["dense", "packed", "packed rounded", "packed rounded beside choice"];
        let rounding = ["packed rounding", "packed rounding beside product"];
        assert_eq!(variants_of("matvec"), [&few[..], &rounding].concat());
        let dense = ["dense", "dense matrix16", "dense matrix8"];
        assert_eq!(
            variants_of("matmul"),
            [&dense[..], &["packed", "packed dot", "packed matrix16", "packed matrix8"]].concat()
        );
        assert_eq!(variants_of("matmul_grouped"), variants_of("matmul"));
        assert_eq!(variants_of("attention_matrix"), ["matrix16", "matrix8"]);
        assert_eq!(variants_of("add_norm"), ["", "rounded", "rounded twice"]);
        assert_eq!(variants_of("rms_norm"), ["", "rounded"]);
        assert_eq!(variants_of("argmax"), [""]);
    }

    #[test]
    fn what_is_missing_is_said() {
        let library = Library::read();
        let stem = |name| library.stems.iter().find(|snippet| snippet.name == name).expect("a stem");
        let why = |name, words: &[&str]| compose(&library, stem(name), words).expect_err("no such text");
        assert_eq!(why("embed", &[]), "embed: nothing is \"weights\" with []");
        assert_eq!(why("matmul", &["dense", "dot"]), "dot_tile needs BITS of \"weights\", which does not give it");
    }
}
