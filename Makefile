# Adit.  The doors: make run, make test, make check, make help.
#
# Non-recursive.  Rooms, their archives and what links with what all come from
# tools/layers.txt, the same list that the layers test enforces.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

BUILD ?= build
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
.DEFAULT_GOAL := all

SANITIZE ?=
WERROR ?= -Werror
OPT ?= -O2

include tools/build/rooms.mk
include tools/build/compile.mk
include tools/build/doors.mk
include tools/build/check.mk
