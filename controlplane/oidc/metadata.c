#include "controlplane/oidc/oidc_internal.h"

bool oidc_url_is_good(struct span url)
{
    if (!span_starts(url, SPAN("https://")) || url.n <= 8 || url.n >= OIDC_URL_MAX)
        return false;
    for (size_t i = 0; i < url.n; i++) {
        if (url.p[i] <= ' ' || url.p[i] > '~' || url.p[i] == '#' || url.p[i] == '"' || url.p[i] == '\\' ||
            url.p[i] == '<' || url.p[i] == '>')
            return false;
    }
    return span_find(url, '@') == url.n;        /* no user info */
}

static bool get_url(const struct json_value *v, const char *name, char dst[OIDC_URL_MAX])
{
    struct span url;

    return json_get_str(v, name, &url) && oidc_url_is_good(url) && span_copy(url, dst, OIDC_URL_MAX);
}

static bool lists(const struct json_value *v, const char *name, struct span word)
{
    const struct json_value *list = json_get(v, name);
    struct span item;

    for (size_t i = 0; list && json_kind_of(list) == JSON_IS_ARRAY && i < json_count(list); i++) {
        if (json_as_str(json_at(list, i), &item) && span_eq(item, word))
            return true;
    }
    return false;
}

static const char *read_endpoints(const struct json_value *v, struct metadata *m)
{
    static const char methods[] = "token_endpoint_auth_methods_supported";

    if (!get_url(v, "authorization_endpoint", m->authorization_endpoint))
        return "the provider publishes no good authorization_endpoint";
    if (!get_url(v, "token_endpoint", m->token_endpoint))
        return "the provider publishes no good token_endpoint";
    if (!get_url(v, "jwks_uri", m->jwks_uri))
        return "the provider publishes no good jwks_uri";
    m->posts_secret = lists(v, methods, SPAN("client_secret_post")) &&
                      !lists(v, methods, SPAN("client_secret_basic"));
    (void)json_get_bool(v, "authorization_response_iss_parameter_supported", &m->names_itself);
    return NULL;
}

const char *metadata_parse(struct span json, const char *issuer, struct metadata *ret)
{
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct metadata m = { .names_itself = false };
    struct json_error error;
    struct span named;
    const char *why;

    if (json_parse(json, &v, &error) || json_kind_of(v) != JSON_IS_OBJECT)
        return "what the provider publishes is no JSON object";
    if (!json_get_str(v, "issuer", &named) || !span_eq(named, span_str(issuer)))
        return "the provider names another issuer";
    why = read_endpoints(v, &m);
    if (!why)
        *ret = m;
    return why;
}
