# a bootstrap action
