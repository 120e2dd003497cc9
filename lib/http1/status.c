#include "lib/http1/http1.h"

struct error_row {
    unsigned status;
    const char *text;
};

static const struct error_row errors[HTTP1_E_COUNT] = {
    [HTTP1_E_MORE] = { 400, "the message is not whole" },
#define HTTP1_ERROR(name, status, text) [HTTP1_E_##name] = { status, text },
    HTTP1_ERRORS(HTTP1_ERROR)
#undef HTTP1_ERROR
};

static const struct error_row *error_row(int error)
{
    static const struct error_row other = { 500, "the message could not be handled" };

    return error > 0 && error < HTTP1_E_COUNT ? &errors[error] : &other;
}

unsigned http1_error_status(int error)
{
    return error_row(error)->status;
}

const char *http1_error_text(int error)
{
    return error_row(error)->text;
}

const char *http1_status_text(unsigned status)
{
    static const char *const texts[600] = {
        [100] = "Continue", [101] = "Switching Protocols",
        [200] = "OK", [201] = "Created", [202] = "Accepted", [204] = "No Content",
        [206] = "Partial Content",
        [301] = "Moved Permanently", [302] = "Found", [303] = "See Other",
        [304] = "Not Modified", [307] = "Temporary Redirect", [308] = "Permanent Redirect",
        [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found",
        [405] = "Method Not Allowed", [406] = "Not Acceptable",
        [407] = "Proxy Authentication Required", [408] = "Request Timeout", [409] = "Conflict",
        [410] = "Gone", [411] = "Length Required", [412] = "Precondition Failed",
        [413] = "Content Too Large", [414] = "URI Too Long", [415] = "Unsupported Media Type",
        [417] = "Expectation Failed", [421] = "Misdirected Request",
        [422] = "Unprocessable Content", [426] = "Upgrade Required",
        [428] = "Precondition Required", [429] = "Too Many Requests",
        [431] = "Request Header Fields Too Large", [499] = "Client Closed Request",
        [500] = "Internal Server Error", [501] = "Not Implemented", [502] = "Bad Gateway",
        [503] = "Service Unavailable", [504] = "Gateway Timeout",
        [505] = "HTTP Version Not Supported",
    };

    return status < ARRAY_LEN(texts) && texts[status] ? texts[status] : "Status";
}
