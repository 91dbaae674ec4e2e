//! Ids as they come from a model, in any order: what is pushed piece by piece is the whole text, wherever it is cut, and
//! no special token leaks into it.

use std::sync::LazyLock;

use lapidary::text::{Kind, Reply, Said, StreamDecoder, TextModel};
use lapidary_fuzz::{Bounds, demo, run};
use libfuzzer_sys::fuzz_target;

const BOUNDS: Bounds = Bounds::new(16, 1000);
static DEMO: LazyLock<TextModel> = LazyLock::new(demo::text_model);

fn main() {
    run();
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, rest)) = data.split_first() else { return };
    LazyLock::force(&BYTES);
    let ids: Vec<u32> = rest.chunks_exact(2).map(|pair| id(pair[0], pair[1])).collect();
    BOUNDS.hold(|| {
        decode(&ids);
        let cut = usize::from(*cut).min(ids.len());
        reply(&ids, cut);
    });
});

/// The tokens of single bytes.
static BYTES: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let id = |byte: u8| DEMO.tokenizer.token_id(&format!("<0x{byte:02X}>")).expect("the demo has all bytes");
    (0..=u8::MAX).map(id).collect()
});

/// Two bytes as an id: a special token, a byte of a character, a token, or an id that none has.
fn id(kind: u8, which: u8) -> u32 {
    match kind {
        0..=63 => demo::SPECIALS[usize::from(which) % demo::SPECIALS.len()].1,
        64..=127 => BYTES[usize::from(which)],
        255 => u32::MAX - u32::from(which),
        _ => u32::from(kind - 128) << 8 | u32::from(which),
    }
}

fn decode(ids: &[u32]) {
    let whole = DEMO.tokenizer.decode(ids);
    let mut decoder = StreamDecoder::new(&DEMO.tokenizer);
    let mut pieces: String = ids.iter().filter_map(|id| decoder.push(*id)).collect();
    pieces.extend(decoder.finish());
    assert_eq!(pieces, whole, "pieces of the stream");
    assert_eq!(decoder.finish(), None, "what follows the end");
    // Special tokens and ids that none has are no text.
    let text: Vec<u32> = ids.iter().copied().filter(|id| is_text(*id)).collect();
    assert_eq!(DEMO.tokenizer.decode(&text), whole, "without what is no text");
}

fn is_text(id: u32) -> bool {
    (id as usize) < DEMO.tokenizer.vocab_size() && !DEMO.tokenizer.is_special(id)
}

fn reply(ids: &[u32], cut: usize) {
    let mut whole = Reply::new(&DEMO.tokenizer, &[]);
    let mut pieces: Vec<Said> = ids[..cut].iter().flat_map(|id| whole.push(*id)).collect();
    let before = pieces.len();
    pieces.extend(ids[cut..].iter().flat_map(|id| whole.push(*id)));
    pieces.extend(whole.finish());
    let all =
        |kind: Kind| pieces.iter().filter(|said| said.kind == kind).map(|said| said.text.as_str()).collect::<String>();
    assert_eq!(whole.text(), all(Kind::Answer), "the answer's pieces");
    assert_eq!(whole.thinking().unwrap_or_default(), all(Kind::Thinking), "the pieces of thinking");
    assert!(pieces.iter().all(|said| !said.text.is_empty()), "a piece without text");
    let has_marks = ids.iter().any(|id| is_text(*id) && DEMO.tokenizer.decode(&[*id]).contains('<'));
    if !has_marks && !ids.contains(&BYTES[usize::from(b'<')]) {
        let leaks = |text: &str| text.contains('<');
        assert!(!leaks(whole.text()) && !whole.thinking().is_some_and(leaks), "a special token in {pieces:?}");
    }
    // A prompt that ends in the same ids leaves a reply in the same state, but for half a character.
    if !ids[..cut].iter().rfind(|id| is_text(**id)).is_some_and(|id| BYTES.contains(id)) {
        let mut rest = Reply::new(&DEMO.tokenizer, &ids[..cut]);
        let mut later: Vec<Said> = ids[cut..].iter().flat_map(|id| rest.push(*id)).collect();
        later.extend(rest.finish());
        assert_eq!(later, pieces[before..], "behind a prompt of {cut} ids");
    }
}
