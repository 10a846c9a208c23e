"""Methods, data sets and backbones from outside the package; imports no torch by itself.

    plugin_reference    how a run names the plugins that it uses: kind, name, digest
    plugin_code         where the code of a plugin lies: its digest, and how it is loaded
    named_plugins       what --plugin and EMABENCH_PLUGINS name
    installed_plugins   what installed packages offer by entry points; known without importing them
    plugin_shelf        the plugins of one kind by their names
    plugins_at_hand     which plugins of a job this process has, by digest; nothing is loaded

Only the settings of the process and its installation lead here: no spec, bundle or store does.
"""
