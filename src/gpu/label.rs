//! What a dispatch is called.

use std::fmt;

/// The name of a dispatch: `layer.07/q_proj` where it belongs to a layer, `lm_head` where it does not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Label {
    /// The layer that it belongs to, counted from 0.
    pub layer: Option<usize>,
    /// What it is there: the same in all layers.
    pub name: String,
}

impl From<&str> for Label {
    fn from(name: &str) -> Self {
        Label { layer: None, name: name.to_owned() }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "layer.{layer:02}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
