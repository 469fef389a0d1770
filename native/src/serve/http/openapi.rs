//! The description of all routes, for people and programs.

use utoipa::PartialSchema;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};

use super::error::{Detail, ErrorBody};

/// Errors that every route may answer with.
const ERRORS: [(&str, &str); 5] = [
    ("400", "The request has no meaning; the error names the field"),
    ("401", "An API key is missing or wrong"),
    ("404", "There is no such model or path"),
    ("500", "A defect of the server"),
    ("503", "The model is being loaded, or too many requests wait already: try again later"),
];

/// Errors of routes that take a body.
const BODY_ERRORS: [(&str, &str); 5] = [
    ("403", "A web page from elsewhere asks"),
    ("408", "The body took too long"),
    ("413", "The body is too large"),
    ("415", "The body is no JSON by its content type"),
    ("504", "The answer took too long"),
];

/// Errors of routes that this server may have been told not to offer.
const DISABLED: (&str, &str) = ("501", "The server was started without this");

/// The whole document, from what the routes say of themselves.
pub fn finish(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("Woolly")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Language models on the processor of this machine."))
        .build();
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert("ErrorBody".into(), ErrorBody::schema());
    components.schemas.insert("Detail".into(), Detail::schema());
    let header = ApiKey::Header(ApiKeyValue::new("X-Api-Key"));
    components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.add_security_scheme("header", SecurityScheme::ApiKey(header));
    document.security = Some(vec![
        SecurityRequirement::default(),
        SecurityRequirement::new::<_, [&str; 0], &str>("bearer", []),
        SecurityRequirement::new::<_, [&str; 0], &str>("header", []),
    ]);
    for (path, item) in &mut document.paths.paths {
        operations(item).into_iter().for_each(|operation| add_errors(path, operation));
    }
    document
}

/// A route at another path has no name of its own.
pub fn unnamed(mut item: PathItem) -> PathItem {
    operations(&mut item).into_iter().for_each(|operation| operation.operation_id = None);
    item
}

fn operations(item: &mut PathItem) -> Vec<&mut Operation> {
    [&mut item.get, &mut item.post].into_iter().flatten().collect()
}

fn add_errors(path: &str, operation: &mut Operation) {
    let mut errors = ERRORS.to_vec();
    if operation.request_body.is_some() || path.ends_with("/unload") {
        errors.extend(BODY_ERRORS);
    }
    if path == "/v1/stream" {
        errors.push(BODY_ERRORS[0]);
    }
    if path.starts_with("/slots") || path.ends_with("/metrics") {
        errors.push(DISABLED);
    }
    for (status, description) in errors {
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_string()).or_insert_with(|| RefOr::T(error(description)));
    }
}

fn error(description: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
    ResponseBuilder::new().description(description).content("application/json", content).build()
}
