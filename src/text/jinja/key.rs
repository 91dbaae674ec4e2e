//! The keys of dictionaries.

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use indexmap::Equivalent;
use num_bigint::BigInt;

use super::text::Text;

/// A value as a dictionary finds it: equal numbers are one key, whatever their type.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Key {
    None,
    Undefined,
    Int(i64),
    Big(BigInt),
    Float(u64),
    Str(Shown),
    Tuple(Box<[Key]>),
    /// Something that is only equal to itself.
    Itself(usize),
}

/// A key's text, without stand-ins.
#[derive(Clone)]
pub(super) struct Shown(pub(super) Rc<Text>);

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Shown {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Key::None => state.write_u8(0),
            Key::Undefined => state.write_u8(1),
            Key::Int(n) => n.hash(state),
            Key::Big(n) => n.hash(state),
            Key::Float(n) => n.hash(state),
            Key::Str(text) => Named(&text.0.text).hash(state),
            Key::Tuple(items) => items.hash(state),
            Key::Itself(at) => at.hash(state),
        }
    }
}

/// A key that is text, to look for.
pub(super) struct Named<'t>(pub(super) &'t str);

impl Hash for Named<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Equivalent<Key> for Named<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        matches!(key, Key::Str(text) if *text.0.text == *self.0)
    }
}

impl Key {
    /// Bytes that the key takes for itself.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Key::Big(n) => n.bits() as usize / 8,
            Key::Tuple(keys) => keys.iter().map(|key| size_of::<Key>() + key.bytes()).sum(),
            _ => 0,
        }
    }
}
