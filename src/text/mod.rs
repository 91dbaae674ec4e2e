//! Text: tokenizer, chat template, streamed decoding, thinking channel. Strings and token ids only, never tensors.
