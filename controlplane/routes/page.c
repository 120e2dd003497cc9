#include "controlplane/routes/page.h"
#include "api/docs.css.h"
#include "api/docs.html.h"
#include "api/docs.js.h"
#include "api/openapi.json.h"
#include "controlplane/routes/handlers.h"
#include "lib/base/reason.h"

#include <string.h>

#define TEXT(array_) (array_), sizeof(array_) - 1

static const struct page pages[] = {
    { "/api/v1/openapi.json", "openapi.get", "application/json", TEXT(embed_api_openapi_json) },
    { "/docs", "docs.page", "text/html; charset=utf-8", TEXT(embed_api_docs_html) },
    { "/docs/reasons", "docs.reasons", "text/html; charset=utf-8", NULL, 0 },
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

static void put_html(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("<>&\"", *text))
            buf_printf(out, "&#%d;", *text);
        else
            buf_put(out, text, 1);
    }
}

/* What a problem's type leads to: one entry for each code. */
static void put_reasons(struct buf *out)
{
    buf_put_str(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<title>Adit: reasons</title>\n<link rel=\"stylesheet\" href=\"/docs/docs.css\">\n"
                     "</head>\n<body>\n<header><h1>Reasons</h1>\n<p>Why something was refused or ended, and "
                     "what to do. <code>adit reason CODE</code> says the same.</p></header>\n<main><dl>\n");
    for (enum reason r = REASON_NONE + 1; r < REASON_COUNT; r++) {
        buf_printf(out, "<dt id=\"%s\"><code>%s</code></dt>\n<dd>", reason_text(r), reason_text(r));
        put_html(out, reason_what(r));
        buf_put_str(out, " ");
        put_html(out, reason_cure(r));
        buf_put_str(out, "</dd>\n");
    }
    buf_put_str(out, "</dl></main>\n</body>\n</html>\n");
}

void on_page(const struct route *route, struct request *req, struct response *res)
{
    const struct page *page = route->data;

    (void)req;
    if (page->text)
        buf_put(&res->body, page->text, page->len);
    else
        put_reasons(&res->body);
    res->content_type = page->content_type;
    response_header(res, "Content-Security-Policy", "%s",
                    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    response_header(res, "X-Content-Type-Options", "nosniff");
    res->status = 200;
}
