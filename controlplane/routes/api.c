#include "controlplane/routes/api_internal.h"
#include "controlplane/routes/diagnose.h"
#include <errno.h>

int api_new(const struct api_options *options, struct api **ret_api)
{
    AUTO(api_freep) struct api *api = calloc(1, sizeof(*api));
    int r;

    if (!api)
        return -ENOMEM;
    api->options = *options;
    waits_init(&api->waits);
    uses_init(&api->uses);
    r = api_make_routes(api);
    if (!r)
        r = hub_new(&(struct hub_options){ options->store, options->listeners_max, options->listeners_per_caller },
                    &api->hub);
    if (r)
        return r;
    *ret_api = TAKE(api);
    return 0;
}

/* The texts of our own rows are heap; those of further rows are their owner's. */
static void free_rows(struct api *api)
{
    for (size_t i = 0; i < api->own_count; i++) {
        struct route *row = &api->routes[i];

        free((char *)(uintptr_t)row->path);
        free((char *)(uintptr_t)row->operation);
        free((char *)(uintptr_t)row->scope);
        free((char *)(uintptr_t)row->query);
    }
    free(api->routes);
}

void api_free(struct api *api)
{
    if (!api)
        return;
    if (api->hub)
        hub_free(api->hub);
    free_rows(api);
    waits_deinit(&api->waits);
    uses_deinit(&api->uses);
    kek_wipe(&api->options.kek);
    free(api);
}

void api_get_listeners(const struct api *api, struct hub_stats *ret_stats)
{
    hub_get_stats(api->hub, ret_stats);
}

void api_stop(struct api *api)
{
    hub_stop(api->hub);
}

int api_keep_uses(struct api *api)
{
    return uses_keep(&api->uses, api->options.store);
}

int api_settle(struct api *api, bool *ret_is_news)
{
    return diagnose_settle(api->options.store, ret_is_news);
}

const struct route *api_routes(const struct api *api, size_t *ret_count)
{
    *ret_count = api->route_count;
    return api->routes;
}
