//! Errors: what the sources say of them, all of it read from there. Each code is in `docs/errors.md`, and no message of the
//! library names a flag or a command of the command line.

#[path = "errors/literals.rs"]
mod literals;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lapidary::Error;
use lapidary::error::{Bound, Fault, Lost, NoRoom, NotFinite, Place, Unfit};
use literals::{Literal, literals};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files in `folder` and below, each with its name from `src` on.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
        open.extend(folders);
        for path in files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
            let name = path.strip_prefix(root().join("src")).expect("inside").to_str().expect("a name");
            found.push((name.replace('\\', "/"), fs::read_to_string(&path).expect("a file")));
        }
    }
    found
}

/// The literals of `text` that are codes, without those of its tests.
fn codes(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let is_code = |text: &str| {
        text.strip_prefix("E-").is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_uppercase())
                && rest.chars().all(|c| c.is_ascii_uppercase() || c == '-')
        })
    };
    literals(code).into_iter().map(|literal| literal.text).filter(|text| is_code(text)).collect()
}

/// An error of each type that has codes, with the type's name. All errors of a type have one exit code.
fn samples() -> Vec<(&'static str, Error)> {
    let fault = || Fault::new(Place::Checkpoint).found("a fault");
    vec![
        ("Usage", Error::usage("a request")),
        ("Place", fault().into()),
        ("Fault", fault().unsupported().into()),
        ("Unfit", Unfit::NoWaiting("in a browser").into()),
        ("NoRoom", NoRoom::new(None, "a buffer", 2, 1, Bound::Budget).into()),
        ("Failure", Error::run("a failure")),
        ("NotFinite", NotFinite::Logits.into()),
        ("Lost", Lost::new("a GPU", "gone").into()),
        ("Io", Error::io("a file", std::io::ErrorKind::NotFound.into())),
    ]
}

/// The exit code of errors with `code`, a literal of the file `text`.
fn exit_code(text: &str, code: &str) -> u8 {
    let samples = samples();
    let own = samples.iter().find(|(_, error)| error.code() == code);
    let at = code.as_ptr() as usize - text.as_ptr() as usize;
    let (_, owner) = text[..at].rsplit_once("\nimpl ").unwrap_or_default();
    let owner = owner.split(' ').next().unwrap_or_default();
    let found = own.or_else(|| samples.iter().find(|(name, _)| *name == owner));
    found.unwrap_or_else(|| panic!("no sample for {code} of {owner}")).1.exit_code()
}

/// Each code has a line in the page, which says how the program ends, what it means and what helps, and the page has no other.
#[test]
fn each_code_is_explained() {
    let mut made: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, text) in sources(&root().join("src/error")) {
        for code in codes(&text) {
            made.entry(code.to_owned()).or_default().push(exit_code(&text, code).to_string());
        }
    }
    assert!(made.len() > 30, "{made:?}");
    let twice: Vec<_> = made.iter().filter(|(_, exits)| exits.len() > 1).collect();
    assert!(twice.is_empty(), "codes of two kinds: {twice:?}");

    let page = fs::read_to_string(root().join("docs/errors.md")).expect("the page");
    let mut listed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `E-")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert!(cells.len() == 4 && cells.iter().all(|cell| !cell.is_empty()), "{line}");
        listed.entry(cells[0].trim_matches('`').to_owned()).or_default().push(cells[1].to_owned());
    }
    assert_eq!(listed, made, "docs/errors.md and src/error");
}

/// Arguments of other programs: file, words, and whose they are.
const OF_OTHERS: [(&str, &str, &str); 1] =
    [("kernels/tuning/page.rs", "cargo test --lib page", "cargo's: how docs/fleet.md's lists are written anew")];

/// Whether `text` has what looks like an argument: two dashes and a letter behind them, not in the middle of a word.
fn names_a_flag(text: &str) -> bool {
    text.match_indices("--").any(|(at, _)| {
        !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-')
            && text[at + 2..].starts_with(|c: char| c.is_ascii_lowercase())
    })
}

/// The program's commands, as the command line declares them.
fn commands(cli: &str) -> Vec<String> {
    let (_, rest) = cli.split_once("enum Command {").expect("the commands");
    let (all, _) = rest.split_once("\n}").expect("their end");
    let names = all.lines().filter_map(|line| line.trim().split_once('(')).map(|(name, _)| name.to_lowercase());
    names.filter(|name| name.chars().all(|c| c.is_ascii_lowercase())).collect()
}

/// Whether `text` names one of the program's `commands`, as one types it.
fn names_a_command(text: &str, commands: &[String]) -> bool {
    text.match_indices("lapidary ").any(|(at, program)| {
        let word = text[at + program.len()..].split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("");
        commands.iter().any(|command| command == word)
    })
}

/// The library says what would help, the command line how it is asked for.
#[test]
fn only_the_command_line_names_flags() {
    let all = sources(&root().join("src"));
    let is_program = |name: &str| name.starts_with("cli/") || name.starts_with("serve/") || name == "main.rs";
    let (_, cli) = all.iter().find(|(name, _)| name == "cli/mod.rs").expect("the command line");
    let commands = commands(cli);
    assert!(commands.len() > 4 && commands.iter().any(|command| command == "doctor"), "{commands:?}");
    assert!(names_a_command("see lapidary doctor, or", &commands) && names_a_command("`lapidary doctor`", &commands));
    assert!(!names_a_command("lapidary checks", &commands));
    let mut found = Vec::new();
    for (name, text) in all.iter().filter(|(name, _)| !is_program(name)) {
        let names = |text: &str| names_a_flag(text) || names_a_command(text, &commands);
        for Literal { line, text } in literals(text).into_iter().filter(|literal| names(literal.text)) {
            if !OF_OTHERS.iter().any(|(file, words, _)| file == name && text.contains(words)) {
                found.push(format!("src/{name}:{line}: {text:?}"));
            }
        }
    }
    assert!(found.is_empty(), "flags or commands in the library:\n{}", found.join("\n"));
    // What the reader must see: the program's own, and each exception.
    let named = |file: &str, word: &str| {
        let (_, text) = all.iter().find(|(name, _)| name == file).unwrap_or_else(|| panic!("no {file}"));
        literals(text).iter().any(|literal| names_a_flag(literal.text) && literal.text.contains(word))
    };
    assert!(named("cli/fault.rs", "--host-experts"));
    OF_OTHERS.iter().for_each(|(file, words, _)| assert!(named(file, words), "{file} has no {words:?} any more"));
}

/// What should be there is a field of a fault, not the end of what was found.
#[test]
fn what_was_expected_is_no_part_of_what_was_found() {
    const TOLD: [&str; 4] = [".found(", ".found(format!(", ".missing(", ".missing(format!("];
    let (mut told, mut wrong) = (0, Vec::new());
    for (name, source) in sources(&root().join("src")) {
        for Literal { line, text } in literals(&source) {
            // Without the quotation mark before it.
            let start = text.as_ptr() as usize - source.as_ptr() as usize;
            let before = source[..start].trim_end_matches('"').trim_end();
            if TOLD.iter().any(|tells| before.ends_with(tells)) {
                told += 1;
                if text.contains("expected") {
                    wrong.push(format!("src/{name}:{line}: {text:?}"));
                }
            }
        }
    }
    assert!(told > 100, "{told} faults");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The code of `text` without tests and comments, by lines.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    code.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// What options can ask for and not get is refused in one place each, so that it has one wording.
#[test]
fn each_refusal_of_an_option_is_made_once() {
    const REFUSALS: [&str; 14] = [
        "NoContext",
        "Context",
        "ContextOnDevice",
        "NoSlots",
        "Tier",
        "Cache",
        "HostExperts",
        "SyntheticHostExperts",
        "ExpertSplit",
        "Ranks",
        "EmptyShare",
        "TooManyRanks",
        "UnevenShares",
        "Devices",
    ];
    let all = sources(&root().join("src"));
    for refusal in REFUSALS {
        let made = [format!("Usage::{refusal} {{"), format!("Usage::{refusal}.into()")];
        let mut places = Vec::new();
        for (name, text) in all.iter().filter(|(name, _)| !name.starts_with("error/")) {
            let lines = code(text).filter(|line| made.iter().any(|made| line.contains(made)));
            places.extend(lines.map(|line| format!("{name}: {}", line.trim())));
        }
        assert_eq!(places.len(), 1, "Usage::{refusal}: {places:#?}");
    }
}

/// Files of the model that name the type of options and look into none: whatever they are given they hand on.
const HAND_OPTIONS_ON: [&str; 4] =
    ["model/gemma4.rs", "model/load/memory.rs", "model/load/synthetic.rs", "model/mod.rs"];

/// Whether `line` has the word `word`.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let ends = |at: usize| !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part);
    line.match_indices(word).any(|(at, _)| ends(at))
}

/// Whether `line` of a file that hands options on does more with them: as arguments they are called `options` and nothing else.
fn looks_into_options(line: &str) -> bool {
    let names = has_word(line, "Options") && !line.trim_start().trim_start_matches("pub ").starts_with("use ");
    let is_argument = line.matches("Options").count() == line.matches("options: &Options").count();
    let is_renamed = ["= options", "= &options", "= *options"].iter().any(|with| line.contains(with));
    let reads = has_word(line, "options") && line.contains("options.") && !line.contains("options.clone()");
    (names && !is_argument) || is_renamed || reads
}

/// What was asked for becomes a layout in one file of the model; only advice, which proposes other options, looks at them too.
#[test]
fn options_are_resolved_in_one_file() {
    let (mut readers, mut others) = (Vec::new(), Vec::new());
    for (name, text) in sources(&root().join("src/model")) {
        if !code(&text).any(|line| has_word(line, "Options")) {
            continue;
        }
        if HAND_OPTIONS_ON.contains(&name.as_str()) {
            others.extend(code(&text).filter(|line| looks_into_options(line)).map(|line| format!("{name}: {line}")));
        } else {
            readers.push(name);
        }
    }
    readers.sort();
    assert_eq!(readers, ["model/load/advice.rs", "model/load/layout.rs", "model/load/options.rs"]);
    assert!(others.is_empty(), "{others:#?}");
    for line in [
        "let Options { context, .. } = options;",
        "let asked = options;",
        "let slots = options.slots;",
        "fn f(asked: &Options) {",
    ] {
        assert!(looks_into_options(line), "{line}");
    }
    assert!(!looks_into_options("fn f(options: &Options) {") && !looks_into_options("g(gpu, options)?"));
}

#[test]
fn literals_are_read() {
    let texts = |source| literals(source).into_iter().map(|literal| literal.text).collect::<Vec<_>>();
    assert_eq!(texts(r#"f("a --b", 'c', '"', "d\"--e\\", '\'', b"f")"#), ["a --b", r#"d\"--e\\"#, "f"]);
    assert_eq!(texts("r#\"a \"--b\" c\"# br\"d\" r\"\" for\"e\""), ["a \"--b\" c", "d", "", "e"]);
    assert_eq!(texts("// \"a\"\n/// \"b\"\n/* \"c\" /* */ \"d\" */ fn f<'a>(x: &'a str) { \"e\" }"), ["e"]);
    assert_eq!(literals("\n\n  \"é\n\"")[0].line, 3);
    assert!(names_a_flag("see --kv") && names_a_flag("--kv int8") && names_a_flag("(--no-cache)"));
    assert!(!names_a_flag("a -- b") && !names_a_flag("---") && !names_a_flag("<!-- x") && !names_a_flag("a--b"));
}
