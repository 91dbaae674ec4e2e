//! `--tensor-parallel` and its like, on every command that runs the model.

use crate::process::{bare_model, run, run_with};

const PROMPT: [&str; 7] =
    ["generate", "--prompt", "What does Vec::push do?", "--temperature", "0", "--max-tokens", "12"];

#[test]
fn cut_models_say_the_same() {
    let whole = run(&PROMPT);
    assert!(!whole.err.contains("rank 0"), "{}", whole.err);
    let expected = whole.ok();
    let cuts: [&[&str]; 7] = [
        &["--tensor-parallel", "1"],
        &["--tensor-parallel", "2"],
        &["--tensor-parallel", "4", "--cut", "aligned"],
        &["--tensor-parallel", "3", "--split", "expert"],
        &["--shares", "5,3"],
        // One rank's cut leaves whole chunks and fuses kernels, the other's does not.
        &["--shares", "5,3", "--tier", "dot"],
        &["--adapters", "vulkan,vulkan"],
    ];
    for cut in cuts {
        let found = run(&[&PROMPT, cut].concat());
        let ranks = found.err.lines().filter(|line| line.starts_with("rank ")).count();
        let several = found.err.contains("ranks together hold");
        assert_eq!((ranks > 1, several), (cut != cuts[0], cut != cuts[0]), "{cut:?}: {}", found.err);
        let defaulted = found.err.contains("no GPU was found");
        assert!(!defaulted || cut[0] != "--adapters", "{cut:?} names adapters: {}", found.err);
        assert_eq!(found.ok(), expected, "{cut:?}");
    }
}

#[test]
fn every_command_that_runs_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let logits = |cut: &[&str], name: &str| {
        let path = folder.path().join(name).to_str().unwrap().to_owned();
        run(&[&["logits", "--model", &bare_model(), "--ids", "2,5,9", "--output", &path], cut].concat()).ok();
        std::fs::read(path).unwrap().len()
    };
    assert_eq!(logits(&["--tensor-parallel", "2"], "two"), logits(&[], "one"));
    let chat = run_with(&["chat", "--temperature", "0", "--tensor-parallel", "2"], "What does Vec::push do?\n/stats\n");
    assert!(chat.err.contains("2 ranks together hold"), "{}", chat.err);
    assert!(chat.ok().contains("Appends an element"));
}

#[test]
fn bench_measures_cut_models() {
    let demo: &[&str] = &["bench", "-p", "8", "-n", "2", "-r", "1", "--json"];
    let synthetic = ["--synthetic", "26b-a4b", "--layers", "1", "--experts", "8", "--vocab", "512"];
    let synthetic = &[demo, &synthetic].concat()[..];
    let per_layer = ["--synthetic", "e2b", "--layers", "1", "--vocab", "512"];
    let per_layer = &[demo, &per_layer].concat()[..];
    let cuts: [(&[&str], &[&str], usize); 6] = [
        (demo, &["--tensor-parallel", "2"], 2),
        (demo, &["--shares", "5,3", "--cut", "aligned"], 2),
        (demo, &["--adapters", "vulkan,vulkan"], 2),
        (synthetic, &["--tensor-parallel", "3", "--split", "expert"], 3),
        (synthetic, &["--shares", "5,3", "--cut", "aligned"], 2),
        (per_layer, &["--tensor-parallel", "2"], 2),
    ];
    for (bench, cut, n_ranks) in cuts {
        let whole = run(bench).json();
        assert!(whole.get("ranks").is_none(), "{whole}");
        let json = run(&[bench, cut].concat()).json();
        let ranks = json["ranks"].as_array().unwrap();
        assert_eq!(ranks.len(), n_ranks, "{cut:?}: {json}");
        // Every rank reads its part, and all of them what the whole model reads, with what each has for itself.
        let read = |json: &serde_json::Value| json["rows"][1]["bytes_per_step"].as_f64().unwrap();
        let (more, all) =
            (read(&json) / read(&whole), ranks.iter().map(|rank| rank["weights_bytes"].as_u64().unwrap()));
        assert!((1.0..1.35).contains(&more), "{cut:?}: {more} times the bytes");
        assert!(all.sum::<u64>() < json["memory_bytes"].as_u64().unwrap());
    }
    let text = run(&[&demo[..7], &["--tensor-parallel", "2"]].concat());
    assert!(text.err.contains("2 ranks together hold"), "{}", text.err);
    assert!(text.ok().contains("\nranks      2: heads 0 to 1 on "));
    let unknown = run(&[demo, &["--tensor-parallel", "5"]].concat());
    assert_eq!((unknown.code, unknown.err.contains("expected at most 4 ranks")), (Some(2), true), "{}", unknown.err);
}

#[test]
fn what_cannot_be_cut() {
    let cases: [(&[&str], &str); 9] = [
        (&["--tensor-parallel", "0"], "expected a whole number from 1 to 8"),
        (&["--tensor-parallel", "9"], "expected a whole number from 1 to 8"),
        (&["--tensor-parallel", "5"], "5 ranks, but the model has 4 query heads, expected at most 4 ranks"),
        (&["--shares", "100,1"], "shares 100,1: rank 1 gets none of the model's 4 query heads, expected at least 1"),
        (&["--shares", "2,0"], "rank 1 has 0, expected at least 1 for each rank"),
        (&["--shares", "2,-1"], "found \"-1\", expected whole numbers like 5,3"),
        (&["--shares", "5,3", "--tensor-parallel", "3"], "--shares 5,3 is for 2 ranks, --tensor-parallel says 3"),
        (&["--adapters", "vulkan,vulkan", "--tensor-parallel", "1"], "2 adapters for 1 rank, expected at most one"),
        (&["--adapters", "vulkan,"], "one of the names is empty"),
    ];
    for (cut, message) in cases {
        let found = run(&[&PROMPT, cut].concat());
        assert_eq!((found.code, found.out.as_str()), (Some(2), ""), "{cut:?}: {}", found.err);
        let lines: Vec<&str> = found.err.lines().collect();
        assert!(lines.len() == 1 && lines[0].contains(message), "{cut:?}: {}", found.err);
    }
    let none = run(&[&PROMPT[..], &["--adapters", "vulkan,no such card"]].concat());
    assert_eq!(none.code, Some(4), "{}", none.err);
    assert!(none.err.contains("no such card"), "{}", none.err);
}
