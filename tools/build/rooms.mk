# From tools/layers.txt: ROOMS (lowest first), USES_<room>, LIBS_<room>, deps(room).
ROOMS :=
define room_line
ROOMS += $(1)
USES_$(1) := $(filter-out <% !%,$(2))
HEADERS_$(1) := $(filter <%,$(2))
endef
# "room: names" arrives as one word a line, blanks written as '|'.
LAYER_LINES := $(shell sed -e 's/\#.*//' -e '/^[[:space:]]*$$/d' -e 's/[[:space:]]\+/|/g' tools/layers.txt)
$(foreach line,$(LAYER_LINES),$(eval $(call room_line,$(firstword $(subst :, ,$(subst |, ,$(line)))),$(wordlist 2,99,$(subst :, ,$(subst |, ,$(line)))))))

reverse = $(if $(1),$(call reverse,$(wordlist 2,999,$(1))) $(firstword $(1)))
closure = $(sort $(1) $(foreach d,$(USES_$(1)),$(call closure_of,$(d))))
closure_of = $(if $(CLOSURE_$(1)),,$(eval CLOSURE_$(1) := $(call closure,$(1))))$(CLOSURE_$(1))
# A room and all it may use, highest first: the order that the linker wants.
deps = $(call reverse,$(foreach r,$(ROOMS),$(filter $(r),$(call closure_of,$(1)))))

link_<uv.h> := -luv
link_<yaml.h> := -lyaml
link_<jansson.h> := -ljansson
link_<openssl/> := -lssl -lcrypto
link_<argon2.h> := -largon2
link_<crypt.h> := -lcrypt
link_<ares.h> := -lcares
link_<curl/> := -lcurl
link_<sqlite3.h> := -lsqlite3
link_<postgresql/> := -lpq
link_<microhttpd.h> := -lmicrohttpd
link_<gnutls/> := -lgnutls
libs = $(sort $(foreach r,$(call deps,$(1)),$(foreach h,$(HEADERS_$(r)),$(link_$(h)))))
