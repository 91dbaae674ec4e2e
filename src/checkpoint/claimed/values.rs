//! Values that all methods have.

use serde_json::Value;

use crate::gemma4::json::Keys;

/// What a group size may be.
pub(super) const GROUP_SIZE: &str = "-1 or an integer from 1 to 16777216";

/// The general width; a wrong one is noted and replaced.
pub(super) fn read_bits(keys: &Keys, key: &str) -> u32 {
    match keys.value(key).and_then(Value::as_u64) {
        Some(4) => 4,
        Some(8) => 8,
        _ => {
            keys.unsupported(key, "4 or 8 (other widths are not supported yet)");
            4
        }
    }
}

/// `None` where it is absent or wrong, `Some(None)` for -1.
pub(super) fn read_group_size(keys: &Keys, key: &str) -> Option<Option<usize>> {
    match keys.value(key)?.as_i64() {
        Some(-1) => Some(None),
        Some(size @ 1..=16_777_216) => Some(Some(size as usize)),
        _ => {
            keys.fault(key, GROUP_SIZE);
            None
        }
    }
}
