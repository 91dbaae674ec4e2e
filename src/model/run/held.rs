//! What devices hold of a model's tensors, read back: for tests.

use crate::Result;
use crate::gpu::{Recorder, Tensor};
use crate::model::Gemma4;
use crate::model::load::weights::{Held, HeldAs};

impl Gemma4 {
    /// The words that each rank's device holds of the place `label` in `layer`: rows, weights or codes. Empty where it holds
    /// none.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] and [`crate::Error::Run`] of the device.
    pub(crate) fn held(&self, label: &str, layer: Option<usize>) -> Result<Vec<Vec<u32>>> {
        let mut all = Vec::new();
        for rank in &self.ranks {
            let held = rank.weights().all.iter().find(|held| held.label == label && held.layer == layer);
            let mut words = Vec::new();
            for buffer in held.map(buffers).unwrap_or_default() {
                let width = (buffer.size() / 4) as usize;
                let tensor = Tensor { buffer, rows: 1, width, stride: width };
                let mut recorder = Recorder::new(&rank.gpu);
                let copy = recorder.read_back(&tensor, 1)?;
                recorder.submit();
                words.extend(copy.read::<u32>(&rank.gpu, 1)?);
            }
            all.push(words);
        }
        Ok(all)
    }
}

fn buffers(held: &Held) -> Vec<wgpu::Buffer> {
    if let HeldAs::Rows(tensor) = &held.held_as {
        return vec![tensor.buffer.clone()];
    }
    let parts = held.matrices().iter().flat_map(|stacked| &stacked.weights.parts);
    parts.map(|part| part.data.clone()).collect()
}
