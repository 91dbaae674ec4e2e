//! A generator that knows what the files say of answers, and that comes back after a loss of the device.

use std::sync::Arc;

use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::engine::Generator;
use crate::model::Gemma4;
use crate::text::TextModel;

/// The model of `checkpoint`, ready to generate what `text` reads: answers end with the stop tokens of the files and with
/// those that end a turn by their name, and suppressed tokens never come.
///
/// `load` loads the model, at once and again whenever the device is lost: then it is told why. All else is as for
/// [`Generator::recovering`].
///
/// # Errors
/// Those of [`Checkpoint::check_stops`] before anything is loaded, and those of `load`.
pub fn generator(
    checkpoint: &Arc<Checkpoint>,
    text: Option<&TextModel>,
    mut load: impl FnMut(&Checkpoint, Option<&str>) -> Result<Gemma4> + Send + 'static,
) -> Result<Generator> {
    checkpoint.check_stops()?;
    let model = load(checkpoint, None)?;
    let generator = Generator::new(model, checkpoint.stop_ids(), &checkpoint.generation.suppress_tokens);
    let generator = generator.with_stop_ids(text.into_iter().flat_map(|text| text.tokenizer.turn_ends()));
    let generator = generator.with_reserved(text.into_iter().flat_map(|text| text.tokenizer.reserved_ids()));
    let checkpoint = checkpoint.clone();
    Ok(generator.recovering(move |why| load(&checkpoint, Some(why))))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Mutex;

    use super::super::demo;
    use super::*;
    use crate::Error;
    use crate::engine::{Request, Sampling};
    use crate::gpu::Gpu;
    use crate::model::Options;

    #[test]
    fn a_lost_model_is_loaded_again_by_who_is_told_why() {
        let checkpoint = Arc::new(Checkpoint::open(demo::source()).unwrap());
        let told: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
        let seen = told.clone();
        let load = move |checkpoint: &Checkpoint, why: Option<&str>| {
            seen.lock().unwrap().push(why.map(str::to_owned));
            let options = Options { context: Some(64), ..Options::exact() };
            Gemma4::load(Gpu::open(None)?, checkpoint, &options, &|_| ())
        };
        let text = demo::text();
        let mut generator = generator(&checkpoint, Some(&text), load).unwrap();
        assert!(text.tokenizer.turn_ends().into_iter().all(|id| generator.is_stop(id)));
        let request = Request { sampling: Sampling::GREEDY, max_tokens: Some(3) };
        let mut ids =
            || generator.generate(0, &[2, 700, 41], &request, &mut |_| ControlFlow::Continue(())).unwrap().ids;
        let expected = ids();
        assert_eq!(*told.lock().unwrap(), [None]);
        generator.model().gpu().faults().destroy();
        let mut ids =
            || generator.generate(0, &[2, 700, 41], &request, &mut |_| ControlFlow::Continue(())).unwrap().ids;
        assert_eq!(ids(), expected);
        let told = told.lock().unwrap();
        assert!(told.len() == 2 && told[1].as_ref().is_some_and(|why| why.contains("destroyed")), "{told:?}");
    }

    #[test]
    fn stops_that_cannot_be_read_are_told_before_anything_is_loaded() {
        let mut checkpoint = Checkpoint::open(demo::source()).unwrap();
        checkpoint.generation.suppress_tokens = (0..checkpoint.config.vocab_size as u32).collect();
        let error = generator(&Arc::new(checkpoint), None, |_, _| panic!("loaded")).unwrap_err();
        assert!(matches!(error, Error::Model(_)), "{error}");
    }
}
