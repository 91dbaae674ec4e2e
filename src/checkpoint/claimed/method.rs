//! Reads what the methods say: GPTQ, AutoRound, AWQ; compressed-tensors is in [`super::groups`].

use serde_json::Value;

use super::entry::{Entry, QuantizationConfig, Reader};
use super::name::Name;
use super::values::{GROUP_SIZE, read_bits, read_group_size};
use super::{groups, known};
use crate::gemma4::json::Keys;
use crate::quant::gptq::ZeroPoints;

/// The methods that are known, for messages.
pub(super) const SUPPORTED: &str =
    "\"gptq\", \"auto-round\", \"awq\" or \"compressed-tensors\" (other methods are not supported yet)";
/// What `keys` say, of `config.json` or of the `file` beside it.
pub(super) fn read_method(keys: &Keys, file: Option<&'static str>) -> Option<QuantizationConfig> {
    let method_key = if keys.value("quant_method").is_some() { "quant_method" } else { "method" };
    let method = match (keys.value(method_key), file) {
        (None, Some(_)) => Some(guess_method(keys).to_owned()),
        _ => keys.text(method_key).map(str::to_ascii_lowercase),
    };
    let mut config = match method.as_deref() {
        Some("awq") => read_plain(keys, "awq", Stored { reader: read_version(keys), format: String::new() }),
        Some("compressed-tensors") => groups::read(keys)?,
        Some("gptq") => read_plain(keys, "gptq", read_format(keys)),
        Some("auto-round" | "auto_round" | "autoround" | "intel/auto-round") => {
            read_plain(keys, "auto-round", read_packing(keys))
        }
        _ => {
            keys.unsupported(if method.is_some() { method_key } else { "quant_method" }, SUPPORTED);
            return None;
        }
    };
    config.file = file;
    Some(config)
}

/// How quantized matrices are stored, and the key that says so with its value, for messages.
struct Stored {
    reader: Reader,
    format: String,
}

/// GPTQ, AutoRound and AWQ.
fn read_plain(keys: &Keys, method: &str, Stored { reader, format }: Stored) -> QuantizationConfig {
    let bits_key = one_of(keys, ["bits", "w_bit", "wbits"]);
    let bits = read_bits(keys, bits_key);
    if reader == Reader::Awq && bits == 8 {
        keys.fault(bits_key, "4, the only width of AWQ");
    }
    check_data_type(keys, bits);
    let group_key = one_of(keys, ["group_size", "q_group_size", "groupsize"]);
    let group_size = read_group_size(keys, group_key).unwrap_or_else(|| {
        if keys.value(group_key).is_none() {
            keys.fault(group_key, GROUP_SIZE);
        }
        None
    });
    // AWQ says the opposite.
    let zero_point = keys.flag("zero_point");
    let sym_claim = keys.flag("sym").or(zero_point.map(|zero_point| !zero_point));
    if let (Some(sym), Some(true)) = (sym_claim, zero_point.zip(sym_claim).map(|(zero_point, sym)| zero_point == sym)) {
        keys.fault("zero_point", &format!("{} as sym is {sym}", !sym));
    }
    let mut unknown = Vec::new();
    known::check(keys, "", known::PLAIN, &mut unknown);
    QuantizationConfig {
        quant_method: method.to_owned(),
        bits,
        group_size,
        sym: sym_claim.unwrap_or(reader != Reader::Awq),
        desc_act: keys.flag("desc_act").unwrap_or(false),
        sym_claim,
        sym_text: if keys.value("sym").is_some() { "sym is true" } else { "zero_point is false" },
        reader,
        format,
        file: None,
        has_rules_for_all: false,
        entries: read_entries(keys, &mut unknown),
        unknown,
        notes: Vec::new(),
    }
}

/// The first of `spellings` that is there; two that say different things are a fault.
fn one_of<const N: usize>(keys: &Keys, spellings: [&'static str; N]) -> &'static str {
    let mut there = spellings.into_iter().filter(|key| keys.value(key).is_some());
    let Some(first) = there.next() else { return spellings[0] };
    for other in there.filter(|other| keys.value(other) != keys.value(first)) {
        keys.fault(other, &format!("the same as {first}"));
    }
    first
}

/// Codes are whole numbers, unless there are none.
fn check_data_type(keys: &Keys, bits: u32) {
    if bits < 16 && keys.value("data_type").is_some_and(|kind| kind.as_str() != Some("int")) {
        keys.fault("data_type", "\"int\"");
    }
}

/// AWQ: `version`.
fn read_version(keys: &Keys) -> Reader {
    if keys.text("version").is_some_and(|version| !version.eq_ignore_ascii_case("gemm")) {
        keys.unsupported("version", "\"gemm\" (others are not supported yet)");
    }
    if keys.value("backend").and_then(Value::as_str).is_some_and(|backend| backend.eq_ignore_ascii_case("llm-awq")) {
        keys.unsupported("backend", "\"autoawq\" (the packing of others is not supported yet)");
    }
    Reader::Awq
}

/// GPTQ: `checkpoint_format`, which newer files call `format`.
fn read_format(keys: &Keys) -> Stored {
    let key = if keys.value("checkpoint_format").is_some() { "checkpoint_format" } else { "format" };
    if let (Some(found), Some(other)) = (keys.text(key), keys.text("format"))
        && !found.eq_ignore_ascii_case(other)
        && keys.value("sym") != Some(&Value::Bool(true))
    {
        keys.fault("format", &format!("{found:?} as {key} is (zero points tell the two apart only where sym is true)"));
    }
    let zero_points = match keys.text(key).map(str::to_ascii_lowercase).as_deref() {
        None | Some("gptq") => ZeroPoints::MinusOne,
        Some("gptq_v2") => ZeroPoints::AsStored,
        Some(_) => {
            keys.unsupported(key, "\"gptq\" or \"gptq_v2\" (others are not supported yet)");
            ZeroPoints::MinusOne
        }
    };
    Stored { reader: Reader::Gptq(zero_points), format: described(keys, key) }
}

/// `key` as messages name it, with its value.
fn described(keys: &Keys, key: &str) -> String {
    match keys.value(key).and_then(Value::as_str) {
        Some(value) => format!("{key} {value:?}"),
        None => format!("{key}, which is absent"),
    }
}

/// AutoRound: `packing_format`, which old files call `backend`: `auto_round`, a colon and whose packing it is, and perhaps
/// the kernels that the tool would use.
fn read_packing(keys: &Keys) -> Stored {
    let old = keys.value("packing_format").is_none() && keys.value("backend").is_some();
    let key = if old { "backend" } else { "packing_format" };
    let Some(text) = keys.text(key) else {
        return Stored { reader: Reader::Gptq(ZeroPoints::MinusOne), format: described(keys, key) };
    };
    let lower = text.to_ascii_lowercase().replace('-', "_");
    let bare = lower.strip_prefix("intel/").unwrap_or(&lower);
    let own = ["auto_round", "autoround"].into_iter().find_map(|own| bare.strip_prefix(own));
    let first = own.unwrap_or(bare).split(':').find(|part| !part.is_empty());
    let reader = match first {
        Some("auto_gptq" | "autogptq" | "gptq") => Reader::Gptq(ZeroPoints::MinusOne),
        Some("auto_awq" | "autoawq" | "awq") => Reader::Awq,
        // As a backend, kernels for the packing that is usual.
        Some(_) if old && own.is_none() => Reader::Gptq(ZeroPoints::MinusOne),
        None => Reader::Gptq(ZeroPoints::AsStored),
        Some(kernels) if kernels == "gptqmodel" || kernels.starts_with("exllama") || kernels.starts_with("triton") => {
            Reader::Gptq(ZeroPoints::AsStored)
        }
        Some(_) => {
            let expected = "\"auto_round:auto_gptq\", \"auto_round:gptq\", \"auto_round:gptqmodel\", \
                            \"auto_round:auto_awq\", \"auto_round:awq\" or \"auto_round\" (others are not supported yet)";
            keys.fault(key, expected);
            Reader::Gptq(ZeroPoints::MinusOne)
        }
    };
    Stored { reader, format: described(keys, key) }
}

/// `extra_config` of AutoRound (names or regular expressions, names first) and `dynamic` of GPTQModel (`+:` or `-:` and a
/// regular expression, the first counts).
fn read_entries(keys: &Keys, unknown: &mut Vec<String>) -> Vec<Entry> {
    let mut all = Vec::new();
    for key in ["extra_config", "dynamic"] {
        // GPTQModel writes `"dynamic": false` for none.
        if keys.value(key).is_none_or(|value| *value == Value::Bool(false)) {
            continue;
        }
        let Some(entries) = keys.object(key) else { continue };
        for (text, value) in entries.entries() {
            let mut entry = Entry::new(key, text, 0);
            let (bare, left_out) = match (text.strip_prefix("+:"), text.strip_prefix("-:")) {
                (Some(bare), _) => (bare, false),
                (_, Some(bare)) => (bare, true),
                _ => (text.as_str(), false),
            };
            entry.left_out = left_out && key == "dynamic";
            entry.name = if key == "dynamic" { Name::matched(bare) } else { Name::found(text) };
            entry.rank = u8::from(key == "extra_config" && !matches!(entry.name, Name::Exact(_)));
            if value.is_null() || *value == Value::Bool(false) {
                continue;
            }
            let Some(values) = entries.object(text) else { continue };
            entry.bits = values.value("bits").map(|_| values.integer("bits", None, 1, 32) as u32);
            (entry.sym, entry.group_size) = (values.flag("sym"), read_group_size(&values, "group_size"));
            check_data_type(&values, entry.bits.unwrap_or(0));
            if entry.bits.is_none_or(|bits| bits < 16) {
                known::check(&values, &format!("{key}.{text}."), known::ENTRY, unknown);
            }
            all.push(entry);
        }
    }
    all
}

/// The method of a file that does not name one, as those of AutoGPTQ and AutoAWQ.
fn guess_method(keys: &Keys) -> &'static str {
    let has = |those: &[&str]| those.iter().any(|key| keys.value(key).is_some());
    if has(&["config_groups"]) {
        "compressed-tensors"
    } else if has(&["packing_format", "autoround_version", "extra_config"]) {
        "auto-round"
    } else if has(&["w_bit", "q_group_size", "zero_point"]) {
        "awq"
    } else {
        "gptq"
    }
}
