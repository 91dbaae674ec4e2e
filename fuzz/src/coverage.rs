//! The table of covered lines: `coverage ROOT OBJECT FOLDER [OBJECT FOLDER]...`, called by coverage.sh. Each object was
//! built with `-C instrument-coverage`, and its runs left `*.profraw` in its folder. Objects named `test-...` count in the
//! second column alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use llvm_profparser::coverage::reporting::CoverageResult;
use llvm_profparser::{CoverageMapping, merge_profiles};

/// What reads files, conversations and ids, below `src`, and what of it does not: it takes what is known to be right.
const PARSED: [&str; 7] = ["checkpoint/", "decode.rs", "doctor/record.rs", "error/", "gemma4/", "strict.rs", "text/"];
const NOT_PARSED: [&str; 5] =
    ["checkpoint/fuzzing.rs", "checkpoint/load.rs", "checkpoint/rows.rs", "checkpoint/write/", "gemma4/presets.rs"];

/// Lines of a file, and whether they ran.
type Lines = BTreeMap<usize, bool>;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().expect("the project's root"));
    let source = root.join("src");
    for part in PARSED.iter().chain(&NOT_PARSED) {
        assert!(source.join(part).exists(), "src/{part} is nowhere: the lists of coverage.rs name it");
    }
    let mut has_tests = false;
    let (mut by_corpora, mut by_all): (BTreeMap<String, Lines>, BTreeMap<String, Lines>) = Default::default();
    while let (Some(object), Some(folder)) = (arguments.next(), arguments.next()) {
        let is_test = Path::new(&object).file_name().is_some_and(|name| name.to_string_lossy().starts_with("test-"));
        has_tests |= is_test;
        for (name, lines) in measure(&object, &folder, &source) {
            if !is_test {
                add(by_corpora.entry(name.clone()).or_default(), &lines, true);
                add(by_all.entry(name).or_default(), &lines, true);
            } else if let Some(known) = by_all.get_mut(&name) {
                // Lines of the tests themselves are none of the module's.
                add(known, &lines, false);
            }
        }
    }
    let row = |name: &str, all: usize, corpora: usize, tests: usize| {
        let more = if has_tests { format!(" {} |", share(tests, all)) } else { String::new() };
        println!("| {name} | {all} | {} |{more}", share(corpora, all));
    };
    let (head, rule) = if has_tests { (" with the tests |", "---|") } else { ("", "") };
    println!("| file | lines | by the corpora |{head}\n|---|---|---|{rule}");
    let mut sums = (0, 0, 0);
    for (name, lines) in &by_all {
        let ran = |lines: &Lines| lines.values().filter(|ran| **ran).count();
        let (all, corpora, tests) = (lines.len(), ran(&by_corpora[name]), ran(lines));
        sums = (sums.0 + all, sums.1 + corpora, sums.2 + tests);
        row(&format!("`{name}`"), all, corpora, tests);
        if std::env::var_os("LAPIDARY_FUZZ_LINES").is_some() {
            let missed: Vec<usize> = lines.iter().filter(|(_, ran)| !**ran).map(|(line, _)| *line).collect();
            println!("{name}: not run: {missed:?}");
        }
    }
    row("all", sums.0, sums.1, sums.2);
}

fn share(part: usize, of: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / of.max(1) as f64)
}

fn add(known: &mut Lines, lines: &Lines, grow: bool) {
    for (line, ran) in lines {
        match known.get_mut(line) {
            Some(before) => *before |= ran,
            None if grow => drop(known.insert(*line, *ran)),
            None => {}
        }
    }
}

/// Lines of the parsed modules in one object.
fn measure(object: &str, folder: &str, source: &Path) -> BTreeMap<String, Lines> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}")).flatten();
    let profiles: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    let profile = merge_profiles(&profiles).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let objects = [PathBuf::from(object)];
    let mapping = CoverageMapping::new(&objects, &profile, false);
    let report = mapping.and_then(|mapping| mapping.generate_report());
    let report = report.unwrap_or_else(|error| panic!("{object}: {error}"));
    let mut files = BTreeMap::new();
    for (path, result) in &report.files {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let Ok(name) = path.strip_prefix(source).map(|name| name.display().to_string()) else { continue };
        let is_among = |list: &[&str]| list.iter().any(|part| name.starts_with(part));
        if is_among(&PARSED) && !is_among(&NOT_PARSED) {
            files.insert(name, lines(result));
        }
    }
    files
}

/// As llvm-cov has it: the most of the regions that begin on a line, else the innermost one around it.
fn lines(result: &CoverageResult) -> Lines {
    let all: BTreeSet<usize> = result.hits.keys().flat_map(|region| region.line_start..=region.line_end).collect();
    let hits = |line: usize| {
        let begin = result.hits.iter().filter(|(region, _)| region.line_start == line).map(|(_, hits)| *hits).max();
        begin.or_else(|| {
            let around = result.hits.iter().filter(|(region, _)| region.line_start < line && line <= region.line_end);
            around.max_by_key(|(region, _)| (region.line_start, region.column_start)).map(|(_, hits)| *hits)
        })
    };
    all.into_iter().filter_map(|line| Some((line, hits(line)? > 0))).collect()
}
