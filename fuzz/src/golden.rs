//! Small checkpoints that are known to be good.

macro_rules! set {
    ($name:literal) => {
        (
            include_bytes!(concat!("../../tests/golden/", $name, "/config.json")),
            include_bytes!(concat!("../../tests/golden/", $name, "/model.safetensors")),
        )
    };
}

/// `config.json` and `model.safetensors` of each.
pub const SETS: [(&[u8], &[u8]); 3] =
    [set!("dense-gptq-desc-act"), set!("moe-gptq-desc-act"), set!("moe-autoround-sym")];
