//! `lapidary bench`: what it prints and what it refuses. No time is asserted: this machine may be busy.

use serde_json::Value;

use crate::process::{bare_model, run};

/// Two layers of the largest mixture of experts, small in all that does not matter.
const SMALL: [&str; 9] = ["bench", "--synthetic", "26b-a4b", "--layers", "2", "--experts", "8", "--vocab", "1024"];

fn keys(json: &Value) -> Vec<&str> {
    json.as_object().unwrap().keys().map(String::as_str).collect()
}

fn number(json: &Value, key: &str) -> f64 {
    json[key].as_f64().unwrap_or_else(|| panic!("{key} of {json}"))
}

#[test]
fn a_synthetic_model_is_measured() {
    let json = run(&[&SMALL[..], &["-p", "16", "-n", "4", "-r", "1", "--json"]].concat()).json();
    let all = [
        "device",
        "model",
        "tier",
        "decode_tier",
        "tuning",
        "context",
        "memory_bytes",
        "copy_bytes_per_second",
        "rows",
    ];
    assert_eq!(keys(&json), all);
    assert_eq!(json["tier"], "plain");
    assert_eq!(json["context"], 16);
    let model = "26b-a4b, synthetic int4 g128, 2 of 30 layers, 8 of 128 experts, 1024 of 262144 tokens";
    assert_eq!(json["model"], model);
    let [prefill, decode] = json["rows"].as_array().unwrap().as_slice() else { panic!("{json}") };
    for (row, test) in [(prefill, "pp16"), (decode, "tg4")] {
        assert_eq!(
            keys(row),
            ["test", "depth", "batch", "tokens_per_second", "spread", "bytes_per_step", "bandwidth_share"]
        );
        assert_eq!((&row["test"], &row["depth"], &row["batch"]), (&test.into(), &0.into(), &1.into()));
        assert!(number(row, "tokens_per_second") > 0.0);
        assert_eq!(number(row, "spread"), 0.0, "of a single run");
    }
    assert_eq!((&prefill["bandwidth_share"], &prefill["bytes_per_step"]), (&Value::Null, &Value::Null));
    assert!(number(decode, "bandwidth_share") > 0.0);
    // With 8 of 8 experts every weight is read: 4 bits of code and an eighth of one of scale, 8 and a half of the head, and
    // the dense router.
    let experts = 2.0 * 8.0 * 3.0 * 704.0 * 2816.0;
    let dense = 2.0 * 3.0 * 2112.0 * 2816.0;
    let attention = 2816.0 * (2.0 * 4096.0 + 2.0 * 2048.0) + 2816.0 * (2.0 * 8192.0 + 1024.0);
    let (router, head) = (2.0 * 4.0 * 8.0 * 2816.0, 8.5 / 8.0 * 1024.0 * 2816.0);
    let expected = (experts + dense + attention) * 4.125 / 8.0 + router + head;
    let found = number(decode, "bytes_per_step");
    assert!((found / expected - 1.0).abs() < 0.01, "{found} bytes, expected about {expected}");
    assert!(number(&json, "memory_bytes") > found);
}

/// E2B's first layers with keys of their own, the first that shares them, and the per-layer table that no file holds.
#[test]
fn per_layer_inputs_and_shared_layers_run() {
    let model = ["bench", "--synthetic", "e2b", "--layers", "16", "--vocab", "512"];
    let out = run(&[&model[..], &["-p", "0", "-n", "2", "-r", "1", "--profile"]].concat()).ok();
    for word in ["16 of 35 layers", "tg2", "per_layer_inputs", "kernels of tg2, depth 0, batch 1"] {
        assert!(out.contains(word), "{word:?} in {out}");
    }
}

#[test]
fn lists_make_a_row_each() {
    let lists = ["-p", "8,20", "-n", "3", "-d", "0,5", "-b", "1,2", "-r", "2", "--profile", "--json"];
    let json = run(&[&["bench", "--model", &bare_model()][..], &lists[..]].concat()).json();
    let rows = json["rows"].as_array().unwrap();
    let shown: Vec<String> =
        rows.iter().map(|row| format!("{} {} {}", row["test"].as_str().unwrap(), row["depth"], row["batch"])).collect();
    let expected = ["pp8 0 1", "pp20 0 1", "tg3 0 1", "tg3 0 2", "pp8 5 1", "pp20 5 1", "tg3 5 1", "tg3 5 2"];
    assert_eq!(shown, expected);
    assert_eq!(json["context"], 25);
    for row in rows {
        let kernels = row["profile"].as_array().unwrap();
        let share: f64 = kernels.iter().map(|kernel| number(kernel, "share")).sum();
        assert!((share - 1.0).abs() < 1e-6, "{row}");
        // What is counted from shapes goes by the labels of the dispatches.
        let counted = ["_proj", "lm_head", "router.proj"];
        for kernel in kernels.iter().filter(|k| counted.iter().any(|end| k["kernel"].as_str().unwrap().ends_with(end)))
        {
            assert!(
                number(kernel, "operations_per_second") > 0.0 && number(kernel, "bytes_per_second") > 0.0,
                "{kernel}"
            );
        }
        assert!(kernels.iter().any(|k| k["kernel"] == "attention" && !k["bytes_per_second"].is_null()), "{row}");
        let count =
            |name: &str| kernels.iter().find(|k| k["kernel"] == name).map_or(0, |k| k["count"].as_u64().unwrap());
        let steps = if row["test"] == "tg3" { 3 } else { 1 };
        assert_eq!([count("lm_head"), count("argmax"), count("embed")], [steps; 3], "{row}");
        assert!(count("o_proj") > 0 && count("o_proj").is_multiple_of(steps), "labels without their layer: {row}");
    }
}

#[test]
fn the_demo_model_needs_no_argument() {
    let out = run(&["bench", "-p", "20", "-n", "2", "-r", "1"]).ok();
    for word in ["device ", "demo model (built in)", "copy rate", "pp20", "tg2", "of copy rate"] {
        assert!(out.contains(word), "{word:?} in {out}");
    }
}

#[test]
fn wrong_values_end_with_2() {
    for (arguments, word) in [
        (&["--synthetic", "27b"][..], "26b-a4b"),
        (&["--synthetic", "e2b", "--model", "x"], "cannot be used with"),
        (&["--layers", "2"], "--synthetic"),
        (&["--synthetic", "e2b", "--layers", "36"], "36 layers of e2b were asked for, expected 1 to 35"),
        (&["--synthetic", "e2b", "--experts", "8"], "e2b has no experts"),
        (&["--synthetic", "26b-a4b", "--experts", "4"], "expected 8 to 128"),
        (&["--synthetic", "26b-a4b", "--vocab", "300000"], "expected 1 to 262144"),
        (&["--tier", "matrices"], "matrices"),
        (&["--precision", "fastest"], "fastest"),
        (&["-p", "1,x"], "expected a whole number from 0 on"),
        (&["-n", "-1"], "expected a whole number from 0 on"),
        (&["-b", "0"], "at least 1"),
        (&["-b", "300"], "a batch of 300 was asked for, expected at most 256"),
        (&["-r", "0"], "at least 1"),
        (&["-p", "0", "-n", "0"], "nothing to measure"),
        (&["-d", "8000"], "pp512 at a depth of 8000 takes a context of 8512, but the model's is 8192"),
    ] {
        let run = run(&[&["bench"], arguments].concat());
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{arguments:?}: {}", run.err);
        assert_eq!(run.err.lines().count(), 1, "{arguments:?}: {}", run.err);
        assert!(run.err.starts_with("error: ") && run.err.contains(word), "{arguments:?}: {}", run.err);
    }
}
