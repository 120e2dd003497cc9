#pragma once
#include "controlplane/http/server.h"
/*
 * handlers.h - the handlers that table.c puts into routes; each is a route_fn.
 */
#define HANDLER(name_)                                                                             \
    void name_(const struct route *route, struct request *req, struct response *res)
HANDLER(on_object_list);
HANDLER(on_object_get);
HANDLER(on_object_create);
HANDLER(on_object_update);
HANDLER(on_object_delete);
HANDLER(on_member_list);
HANDLER(on_member_get);
HANDLER(on_member_put);
HANDLER(on_member_delete);
HANDLER(on_record_list);
HANDLER(on_record_get);
HANDLER(on_diagnostic_create);
HANDLER(on_diagnostic_get);
HANDLER(on_stream_cut);
HANDLER(on_breaker_list);
HANDLER(on_breaker_get);
HANDLER(on_breaker_reset);
HANDLER(on_streams_cut);
HANDLER(on_audit_verify);
HANDLER(on_audit_revert);
HANDLER(on_config_get);
HANDLER(on_config_put);
HANDLER(on_explain);
HANDLER(on_effective);
HANDLER(on_login);
HANDLER(on_token_rotate);
HANDLER(on_key_list);
HANDLER(on_key_get);
HANDLER(on_key_rotate);
HANDLER(on_totp_begin);
HANDLER(on_totp_confirm);
HANDLER(on_totp_reset);
HANDLER(on_sign_in);
HANDLER(on_sign_in_callback);
HANDLER(on_sign_in_redeem);
HANDLER(on_me);
HANDLER(on_revision);
HANDLER(on_status);
HANDLER(on_events);
HANDLER(on_batch);
HANDLER(on_operation_items);
HANDLER(on_statistics);
HANDLER(on_page);
