#include "cli/table.h"

#include "lib/base/attr.h"

#include <string.h>

static const struct command commands[] = {
    { "up", "", "run control plane, relay and a demo agent on this machine", up_command },
    { "status", "", "what runs, what is wrong, what to do", status_command },
    { "doctor", "", "check this machine and this installation", doctor_command },
    { "explain", "USER HOST:PORT", "who may reach what, and why not", explain_command },
    { "diagnose", "HOST:PORT", "try a target from where agents are", diagnose_command },
    { "watch", "[TOPIC…]", "what happens, as it happens", watch_command },
    { "stats", "", "what went through the relays, over time", stats_command },
    { "top", "", "who and what stands out in it", top_command },
    { "access", "[USER] [HOST:PORT]", "what somebody is granted, who is granted that", access_command },
    { "config", "export|diff|apply FILE", "all of it as one document", config_command },
    { "import", "intratun", "what another system has: what would be made of it, and making it", import_command },
    { "login", "USER", "log in with a password, and a code where one is needed", login_command },
    { "totp", "[reset USER]", "enrol in a second factor; take somebody's away", totp_command },
    { "api", "METHOD PATH [JSON]", "any operation of the REST API", request_command },
    { "reason", "[CODE]", "what a reason code means", reason_command },
    { "completion", "SHELL", "completion for bash, zsh or fish", completion_command },
    { "manual", "[RESOURCE]", "the manual page, for man -l -", manual_command },
    { "demo-page", "", NULL, page_command },    /* run by adit up */
    { "complete", "", NULL, complete_command }, /* run by the shells' completion */
};

static const struct sibling siblings[] = {
    { "controlplane", "the REST API, policy, certificates" },
    { "relay", "tunnels in, proxy doors out" },
    { "agent", "inside the closed network; adit agent join TOKEN" },
};

const struct command *command_at(size_t i)
{
    return i < ARRAY_LEN(commands) ? &commands[i] : NULL;
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

const struct sibling *sibling_at(size_t i)
{
    return i < ARRAY_LEN(siblings) ? &siblings[i] : NULL;
}

const struct sibling *sibling_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(siblings); i++) {
        if (strcmp(siblings[i].name, name) == 0)
            return &siblings[i];
    }
    return NULL;
}
