//! `sym` and its like against zero points: one zero point, one matrix, or all of them, stored one way or the other.

use lapidary::checkpoint::Projection;
use lapidary::quant::{Format, Shift};
use serde_json::{Value, json};

use super::converted::{awq, compressed, matrices};
use super::{Model, PREFIX, expect, open};

/// What the zero points of a symmetric 4-bit matrix are, stored minus one and as they are.
const STORED: [u8; 2] = [0x77, 0x88];

/// Whether a matrix has zero points of its own.
fn is_asymmetric(format: Format) -> bool {
    format.grouped().unwrap().shift == Shift::Zero
}

fn symmetric() -> Model {
    Model::read("moe-autoround-sym")
}

fn qzeros(model: &Model) -> Vec<usize> {
    let numbers = 0..model.tensors.len();
    numbers.filter(|&number| model.tensors[number].name.ends_with(".qzeros")).collect()
}

/// All zero points of all matrices stored as `byte`, two of them.
fn with_zeros(mut model: Model, byte: u8) -> Model {
    for number in qzeros(&model) {
        model.tensors[number].data.fill(byte);
    }
    model
}

fn gptq(format: &str, sym: Value) -> Value {
    json!({"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": sym, "desc_act": false, "checkpoint_format": format})
}

fn auto_round(format: &str, sym: Value) -> Value {
    json!({"quant_method": "auto-round", "bits": 4, "group_size": 32, "sym": sym, "data_type": "int", "packing_format": format})
}

/// The error of the contents, which loading one matrix ends in too.
fn contradicts(what: &str, model: &Model, needles: &[&str]) -> String {
    let dir = model.write();
    let found = expect(what, &open(dir.path()).unwrap().verify_contents().unwrap_err(), needles);
    let error = open(dir.path()).unwrap().load("layers.5.mlp.up_proj").unwrap_err();
    assert_eq!(error.to_string(), found, "{what}");
    found
}

#[test]
fn all_zero_points_stored_the_other_way() {
    let expected = matrices(&open(symmetric().write().path()).unwrap());
    let configs = [
        gptq("gptq", json!(true)),
        gptq("gptq_v2", json!(true)),
        auto_round("auto_round:auto_gptq", json!(true)),
        auto_round("auto_round:gptq", json!(true)),
        auto_round("auto_round", json!(true)),
        auto_round("auto_round:gptqmodel", json!(true)),
    ];
    for (config, byte) in configs.iter().flat_map(|config| STORED.map(|byte| (config, byte))) {
        let mut model = with_zeros(symmetric(), byte);
        model.config["quantization_config"] = config.clone();
        let dir = model.write();
        let checkpoint = open(dir.path()).unwrap();
        checkpoint.verify_contents().unwrap();
        assert!(matrices(&checkpoint) == expected, "{config} {byte:x}");
        // Whoever asks first: one matrix, some rows, an expert, all contents.
        let whole = checkpoint.load("layers.2.mlp.up_proj").unwrap();
        assert_eq!(open(dir.path()).unwrap().load("layers.2.mlp.up_proj").unwrap(), whole);
        let rows = open(dir.path()).unwrap().load_rows("layers.2.mlp.up_proj", 3..21).unwrap().to_dense().unwrap();
        assert_eq!(rows, checkpoint.load_rows("layers.2.mlp.up_proj", 3..21).unwrap().to_dense().unwrap());
        let expert = open(dir.path()).unwrap().expert(3, 5, Projection::Down).unwrap();
        assert_eq!(expert, checkpoint.expert(3, 5, Projection::Down).unwrap());
        assert!(!is_asymmetric(checkpoint.contents().unwrap().matrix("layers.2.mlp.up_proj").unwrap()));
    }
}

#[test]
fn without_the_claim_zero_points_are_what_they_are() {
    for sym in [json!(false), json!(null)] {
        for byte in [0x99, 0x77, 0x00] {
            let mut model = with_zeros(symmetric(), byte);
            model.config["quantization_config"] = gptq("gptq", sym.clone());
            let checkpoint = open(model.write().path()).unwrap();
            let contents = checkpoint.contents().unwrap();
            assert_eq!(is_asymmetric(contents.matrix("layers.2.mlp.up_proj").unwrap()), byte != 0x77, "{sym} {byte:x}");
        }
    }
}

#[test]
fn zero_points_that_fit_no_way() {
    for (config, byte, found) in [
        (gptq("gptq", json!(true)), 0x99u8, 10),
        (gptq("gptq", json!(true)), 0x66, 7),
        (gptq("gptq_v2", json!(true)), 0x99, 9),
        (auto_round("auto_round:auto_gptq", json!(true)), 0x00, 1),
        (auto_round("auto_round", json!(true)), 0x66, 6),
    ] {
        let mut model = with_zeros(symmetric(), byte);
        model.config["quantization_config"] = config;
        let count = qzeros(&model).len();
        let needles = [
            &format!("group 0, row 0 is {found}, expected 8 because quantization_config.sym is true"),
            &format!("the first of {count} such matrices"),
            ".qzeros\"",
        ];
        let text = contradicts("all", &model, &needles.map(|needle| needle as &str));
        assert!(!text.contains('\n'), "{text}");
    }
}

/// One zero point: in the first and the last matrix, first and last row, at the edge of a group.
#[test]
fn one_zero_point() {
    for format in ["gptq", "gptq_v2"] {
        let base = with_zeros(symmetric(), if format == "gptq" { 0x77 } else { 0x88 });
        let numbers = qzeros(&base);
        for number in [numbers[0], numbers[numbers.len() / 2], numbers[numbers.len() - 1]] {
            let [groups, width] = base.tensors[number].shape[..] else { panic!("a matrix") };
            for (group, row) in
                [(0, 0), (0, 8 * width - 1), (groups - 1, 0), (groups - 1, 8 * width - 1), (groups / 2, 4 * width + 3)]
            {
                let mut model = base.clone();
                model.config["quantization_config"] = gptq(format, json!(true));
                let nibble = group * 8 * width + row;
                model.tensors[number].data[nibble / 2] ^= if nibble % 2 == 0 { 0x02 } else { 0x20 };
                let value = if format == "gptq" { 6 } else { 10 };
                let name = format!("tensor {:?}: ", base.tensors[number].name);
                let text = format!("zero point of group {group}, row {row} is {value}, expected 8");
                let found = contradicts("one", &model, &[&name, &text]);
                assert!(found.starts_with(&name) && !found.contains("such matrices"), "{found}");
            }
        }
    }
}

/// Some matrices one way and some the other: that, or half of one matrix, is no convention.
#[test]
fn mixtures() {
    let base = with_zeros(symmetric(), 0x77);
    let numbers = qzeros(&base);
    let odd = numbers[numbers.len() / 3];
    let name = format!("tensor {:?}: zero point of group 0, row 0", base.tensors[odd].name);
    for format in ["gptq", "gptq_v2"] {
        let mut model = base.clone();
        model.config["quantization_config"] = gptq(format, json!(true));
        model.tensors[odd].data.fill(0x88);
        let count = numbers.len() - 1;
        // All others are right, or all but one are wrong: named is the one that is not like the others.
        let found = contradicts("one matrix", &model, &[&name, "expected 8"]);
        assert_eq!(
            found.contains(&format!("{count} of {} matrices fit if stored", count + 1)),
            format == "gptq_v2",
            "{found}"
        );
        // Half of a matrix.
        let data = &mut model.tensors[odd].data;
        let half = data.len() / 2;
        data[..half].fill(0x77);
        contradicts("half a matrix", &model, &[&base.tensors[odd].name, "expected 8"]);
    }
}

/// What a file says of one matrix is compared with that one.
#[test]
fn claims_for_single_matrices() {
    let name = "layers.1.mlp.up_proj";
    let mut base = symmetric();
    base.get(&format!("{name}.qzeros")).data.fill(0x99);
    let full = format!("{PREFIX}{name}");
    for (key, entry) in [
        ("extra_config", full.clone()),
        ("extra_config", format!("language_model.model.{name}")),
        ("extra_config", r"layers\.1\.mlp\.up".to_owned()),
        ("dynamic", format!("+:^{}$", full.replace('.', r"\."))),
        ("dynamic", r".*\.1\.mlp\.up".to_owned()),
    ] {
        let config = |general: bool, own: bool| {
            let config = if key == "dynamic" {
                gptq("gptq", json!(general))
            } else {
                auto_round("auto_round:auto_gptq", json!(general))
            };
            let mut model = base.clone();
            model.config["quantization_config"] = config;
            model.config["quantization_config"][key] = json!({&entry: {"sym": own}});
            model
        };
        let checkpoint = open(config(true, false).write().path()).unwrap();
        assert!(is_asymmetric(checkpoint.contents().unwrap().matrix(name).unwrap()), "{entry}");
        assert!(!is_asymmetric(checkpoint.contents().unwrap().matrix("layers.2.mlp.up_proj").unwrap()), "{entry}");
        let found = contradicts(&entry, &config(false, true), &[&full, "is 10, expected 8"]);
        assert!(!found.contains('\n'), "{found}");
    }
}

#[test]
fn claims_of_other_formats() {
    // AWQ stores zero points one way: minus one is wrong there.
    let (_, base) = awq();
    for (byte, fits) in [(0x88u8, true), (0x77, false), (0x00, false)] {
        for (config, claim) in
            [(json!({"zero_point": false}), "zero_point is false"), (json!({"sym": true}), "sym is true")]
        {
            let mut model = with_zeros(base.clone(), byte);
            let own = model.config["quantization_config"].as_object_mut().unwrap();
            own.remove("zero_point");
            own.extend(config.as_object().unwrap().clone());
            let checkpoint = open(model.write().path()).unwrap();
            match fits {
                true => assert!(!is_asymmetric(checkpoint.contents().unwrap().matrix("layers.2.mlp.up_proj").unwrap())),
                false => {
                    let needles = ["qzeros", "group 0, row 0 is ", "expected 8", claim];
                    expect("awq", &checkpoint.verify_contents().unwrap_err(), &needles);
                }
            }
        }
    }
    // One nibble, in the order of AWQ: the second is output feature 2.
    let mut model = with_zeros(base, 0x88);
    model.config["quantization_config"]["zero_point"] = json!(false);
    let name = "layers.2.mlp.up_proj.qzeros";
    model.get(name).data[0] = 0x98;
    expect("awq", &open(model.write().path()).unwrap().verify_contents().unwrap_err(), &[name, "group 0, row 2 is 9"]);

    for (bits, fused) in [(4, true), (4, false), (8, true)] {
        let mut base = compressed(bits, fused);
        base.config["quantization_config"]["config_groups"]["group_0"]["weights"]["symmetric"] = json!(true);
        let first = open(base.write().path()).unwrap();
        expect("random", &first.verify_contents().unwrap_err(), &["zero_point\"", "expected", "says symmetric true"]);
        for tensor in base.tensors.iter_mut().filter(|tensor| tensor.name.ends_with("zero_point")) {
            tensor.data.fill(if bits == 4 { 0x88 } else { 0x80 });
        }
        let checkpoint = open(base.write().path()).unwrap();
        assert!(!is_asymmetric(checkpoint.contents().unwrap().matrix("layers.2.mlp.up_proj").unwrap()));
        checkpoint.load("layers.2.mlp.up_proj").unwrap();
        if !fused {
            continue;
        }
        // The last row of the last expert; up's second half of the rows is another matrix of ours.
        let name = "layers.3.experts.gate_up_proj_zero_point";
        let mut odd = base.clone();
        let last = odd.get(name).data.len() - 1;
        odd.get(name).data[last] ^= 0x40;
        let error = open(odd.write().path()).unwrap().verify_contents().unwrap_err();
        expect("fused", &error, &[name, "matrix 15, group 2, row 95", &format!("expected {}", 1 << (bits - 1))]);
        expect("load", &open(odd.write().path()).unwrap().expert(3, 15, Projection::Up).unwrap_err(), &[name]);
    }
}
