#include "lib/ws/ws.h"

struct error_row {
    uint16_t close_code;
    const char *text;
};

static const struct error_row errors[WS_E_COUNT] = {
    [WS_E_OK] = { WS_CLOSE_NORMAL, "no error" },
#define WS_ERROR(name, code, text) [WS_E_##name] = { code, text },
    WS_ERRORS(WS_ERROR)
#undef WS_ERROR
};

static const struct error_row *error_row(int error)
{
    static const struct error_row other = { WS_CLOSE_INTERNAL, "something failed inside" };

    return error >= 0 && error < WS_E_COUNT ? &errors[error] : &other;
}

uint16_t ws_error_close_code(int error)
{
    return error_row(error)->close_code;
}

const char *ws_error_text(int error)
{
    return error_row(error)->text;
}
