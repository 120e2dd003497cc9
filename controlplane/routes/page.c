#include "controlplane/routes/page.h"
#include "api/docs.css.h"
#include "api/docs.html.h"
#include "api/docs.js.h"
#include "api/openapi.json.h"
#include "controlplane/routes/handlers.h"

#define TEXT(array_) (array_), sizeof(array_) - 1

static const struct page pages[] = {
    { "/api/v1/openapi.json", "openapi.get", "application/json", TEXT(embed_api_openapi_json) },
    { "/docs", "docs.page", "text/html; charset=utf-8", TEXT(embed_api_docs_html) },
    { "/docs/docs.js", "docs.script", "text/javascript; charset=utf-8", TEXT(embed_api_docs_js) },
    { "/docs/docs.css", "docs.style", "text/css; charset=utf-8", TEXT(embed_api_docs_css) },
};

const struct page *page_at(size_t i)
{
    return i < ARRAY_LEN(pages) ? &pages[i] : NULL;
}

struct span page_contract(void)
{
    return span_of(embed_api_openapi_json, sizeof(embed_api_openapi_json) - 1);
}

void on_page(const struct route *route, struct request *req, struct response *res)
{
    const struct page *page = route->data;

    (void)req;
    buf_put(&res->body, page->text, page->len);
    res->content_type = page->content_type;
    response_header(res, "Content-Security-Policy", "%s",
                    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    response_header(res, "X-Content-Type-Options", "nosniff");
    res->status = 200;
}
