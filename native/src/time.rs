pub fn now() -> woolly_engine::chat::DateTime {
    woolly_engine::chat::DateTime
}
