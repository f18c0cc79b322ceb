#!/bin/sh
# Writes the manual page and the shells' completion, made of the command line of the program in
# SOURCE, to DIRECTORY. PYTHON has its libraries and the tools of tools.lock, or PYTHONPATH names
# where they are.
set -eu
directory=$2
cd "$1"
PYTHONPATH=exporter${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
python=${PYTHON:-python3}
parser=libvirt_exporter.commands.arguments
# The same text on every terminal.
export COLUMNS=100
"$python" -c 'from argparse_manpage.cli import main; main()' \
    --module "$parser" --function command_line --project-name libvirt-exporter \
    --prog libvirt-exporter --description "Prometheus exporter for libvirt" \
    --manual-section 8 --manual-title "System Administration" \
    --output "$directory/libvirt-exporter.8"
"$python" -m shtab --shell bash "$parser.command_line" >"$directory/libvirt-exporter"
"$python" -m shtab --shell zsh "$parser.command_line" >"$directory/_libvirt-exporter"
